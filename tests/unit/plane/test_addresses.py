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


NETWORKS = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
    "::/128", "::1/128", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
def test_special_purpose_networks_are_refused_from_end_to_end(network: str):
    bounds = ipaddress.ip_network(network)
    for number in (0, bounds.num_addresses // 2, bounds.num_addresses - 1):
        address = bounds[number]
        assert plane.AddressPolicy().refusal("h", 443, str(address)), address
        if address.version == 4:
            for wrapped in (f"::ffff:{address}", f"64:ff9b::{address}"):
                assert plane.AddressPolicy().refusal("h", 443, wrapped), wrapped


@pytest.mark.parametrize("network", NETWORKS)
def test_the_list_alone_refuses_them(network: str, monkeypatch: pytest.MonkeyPatch):
    """Whatever this release of Python thinks of an address."""
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        monkeypatch.setattr(kind, "is_global", True)
        for name in ("is_unspecified", "is_loopback", "is_link_local", "is_multicast", "is_reserved"):
            monkeypatch.setattr(kind, name, False)
    assert plane.AddressPolicy().refusal("h", 443, str(ipaddress.ip_network(network)[0]))


@pytest.mark.parametrize("address", ["192.0.0.192", "192.0.0.9", "192.0.0.10", "192.88.99.1", "2001:1::1"])
def test_what_python_takes_for_global_is_refused(address: str):
    assert plane.AddressPolicy().refusal("h", 443, address)


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
