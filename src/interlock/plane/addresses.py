"""Which network addresses effects may go to: the public internet, and what the operator allows beyond it."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from interlock.plane.errors import InvalidAllowance

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[1-9][0-9]{0,4})")

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_SPECIAL: Final = (
    *map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ),
    ),
    *map(
        IPv6Network,
        (
            "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
            "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
        ),
    ),
)  # fmt: skip
"""What IANA's special-purpose registries keep off the public internet, with what was retired from them. Spelled out, since
the answers of `ipaddress` differ from one patch release of Python to the next."""
_MAX_ADDRESSES: Final = 8
"""How many of a host's addresses are tried."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_HOST_SERVICES: Final = frozenset({IPv4Address("168.63.129.16")})
"""Looks public, and is a cloud's own metadata and wire service."""


class AddressPolicy:
    """Says whether an effect may connect to an address. Immutable.

    Public unicast addresses are allowed; everything else is refused (loopback, private, link-local, shared, multicast,
    reserved, unspecified, tunnels; IPv4 inside IPv6 is judged as the IPv4 address) unless the operator allows its
    `host:port` as the caller writes it, its address, or its network.
    """

    def __init__(self, *, allow: Iterable[str] = ()) -> None:
        """Raises InvalidAllowance for an entry that is neither `host:port`, `[v6]:port`, an address nor a network."""
        self._endpoints: set[tuple[str, int]] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in allow:
            self._add(entry)

    def _add(self, entry: str) -> None:
        match = _HOST_PORT.fullmatch(entry)
        # An IPv6 address without brackets also ends in `:digits`, but has more than one colon and so does not match.
        if match:
            host, port = (match["v6"] or match["host"]).lower(), int(match["port"])
            if port > 65535:
                raise InvalidAllowance(f"allowed address {entry!r}: port {port} does not exist")
            self._endpoints.add((host, port))
            return
        try:
            self._networks.append(ip_network(entry))
        except ValueError as error:
            raise InvalidAllowance(f"allowed address {entry[:100]!r} cannot be read: {error}") from error

    def permitted(self, host: str, port: int, candidates: Sequence[str]) -> tuple[list[str], str]:
        """Those of the first eight addresses that `host` resolved to which may be connected to; and, for when there are none,
        why."""
        refusals = {address: self.refusal(host, port, address) for address in candidates[:_MAX_ADDRESSES]}
        reason = next((refused for refused in reversed(refusals.values()) if refused), "it has no addresses")
        allowed = [address for address, refused in refusals.items() if refused is None]
        return allowed, f"connections to {host}:{port} are refused: {reason}"

    def refusal(self, host: str, port: int, address: str) -> str | None:
        """Why a connection to `address`, which `host` resolved to, is refused; None if it is allowed."""
        if (host.lower(), port) in self._endpoints:
            return None
        try:
            claimed = ip_address(address)
        except ValueError:
            return f"{address!r} is not an address"
        inner = _unwrap(claimed)
        if any(candidate in network for network in self._networks for candidate in (claimed, inner)):
            return None
        kind = _kind(inner)
        return None if kind is None else f"{address} is {kind}"


def _unwrap(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for (mapped, NAT64), else the address itself."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _kind(address: IPv4Address | IPv6Address) -> str | None:
    """What makes an address no public one; None if nothing does."""
    tests = (
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_reserved, "a reserved address"),
        (not address.is_global, "a private or special address"),
        (any(address in network for network in _SPECIAL), "a special-purpose address"),
        (address in _HOST_SERVICES, "a cloud's host service"),
        (isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST, "no public unicast address"),
    )
    return next((kind for applies, kind in tests if applies), None)
