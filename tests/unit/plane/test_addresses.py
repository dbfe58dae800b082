"""Outgoing addresses: public ones only, unless the operator says otherwise."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import plane

PUBLIC = ["1.1.1.1", "140.82.121.6", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str):
    assert plane.AddressPolicy().refusal("api.acme.dev", 443, address) is None


@pytest.mark.parametrize("address", REFUSED)
def test_all_others_are_refused(address: str):
    assert plane.AddressPolicy().refusal("api.acme.dev", 443, address) is not None


@given(st.ip_addresses())
def test_nothing_special_slips_through(address: ipaddress.IPv4Address | ipaddress.IPv6Address):
    if plane.AddressPolicy().refusal("h", 443, str(address)) is None:
        assert not (address.is_private and not str(address).startswith(("::ffff:", "64:ff9b::")))
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast
        assert not address.is_unspecified


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_judged_as_itself(address: ipaddress.IPv4Address):
    policy = plane.AddressPolicy(allow=("10.0.0.0/8",))
    mapped = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("::ffff:0:0")) + int(address)))
    nat64 = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address)))
    verdicts = {policy.refusal("h", 1, text) is None for text in (str(address), mapped, nat64)}
    assert len(verdicts) == 1


def test_an_allowed_endpoint_is_that_host_and_that_port():
    policy = plane.AddressPolicy(allow=("127.0.0.1:8080", "Build.Internal:443", "[::1]:9"))
    assert policy.refusal("127.0.0.1", 8080, "127.0.0.1") is None
    assert policy.refusal("127.0.0.1", 8081, "127.0.0.1") == "127.0.0.1 is a loopback address"
    assert policy.refusal("localhost", 8080, "127.0.0.1") is not None
    assert policy.refusal("build.internal", 443, "10.0.0.5") is None
    assert policy.refusal("::1", 9, "::1") is None


def test_an_allowed_network_is_any_host_and_port_in_it():
    policy = plane.AddressPolicy(allow=("10.0.0.0/8", "fd00::/8", "192.168.1.7", "::1"))
    for address in ("10.9.8.7", "fd00::5", "192.168.1.7", "::1"):
        assert policy.refusal("any", 1, address) is None
    assert policy.refusal("any", 1, "192.168.1.8") is not None


@pytest.mark.parametrize(
    "entry", ["", "localhost", "host:", "host:0", "host:70000", "10.0.0.1/8", "http://a.b/", "*:80"]
)
def test_an_unreadable_allowance_is_refused(entry: str):
    with pytest.raises(plane.InvalidAllowance):
        plane.AddressPolicy(allow=(entry,))
