"""Addresses on the web, read strictly: what one parser takes for a host, no other may take for something else."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import unquote_plus, urljoin

MAX_URL = 8192
"""Characters in a URL."""

_URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[0-9a-f:.]{2,45})\]|(?P<host>[a-z0-9](?:[a-z0-9._-]{0,252}[a-z0-9])?))"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<target>/(?:[A-Za-z0-9\-._~:/?@!$&'()*+,;=\[\]]|%[0-9A-Fa-f]{2})*)"
)
_PLACE = re.compile(
    r"(?:(?P<scheme>ssh|guest)://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]{0,63})@)?"
    r"(?:\[(?P<v6>[0-9a-f:.]{2,45})\]|(?P<host>[a-z0-9](?:[a-z0-9._-]{0,252}[a-z0-9])?))(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"|guest\+unix://(?P<path>/[^\x00-\x20\x7f]{1,106}))"
)
_SSH_PORT = 22
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?=[/?]|$)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Url(NamedTuple):
    """A URL in parts. `host` is a lower-case name or an address without brackets; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must stay the same for a redirect to be followed."""
        return self.scheme, self.host, self.port

    @property
    def host_port(self) -> str:
        """`api.example:443`, `[::1]:8080`: how hosts are written in leases and allowances."""
        return f"{self._bracketed}:{self.port}"

    @property
    def host_header(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        return self._bracketed if self.port == _DEFAULT_PORTS[self.scheme] else self.host_port

    @property
    def text(self) -> str:
        """The URL in one piece, in normal form: the port only where it is not the scheme's own."""
        return f"{self.scheme}://{self.host_header}{self.target}"

    @property
    def path(self) -> str:
        """The target without its query, which may carry what evidence should not."""
        return self.target.partition("?")[0]

    @property
    def parameters(self) -> set[str]:
        """The names of the parameters in its query."""
        return {_named(part) for part in self.target.partition("?")[2].split("&") if part}

    def with_parameters(self, parameters: Sequence[str]) -> "Url":
        """The URL with these (`name=value`, percent-encoded) in the place of its own of the same names."""
        path, _, query = self.target.partition("?")
        taken = {_named(part) for part in parameters}
        kept = [part for part in query.split("&") if part and _named(part) not in taken]
        return self._replace(target=f"{path}?{'&'.join([*kept, *parameters])}")

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def _named(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0])


class PlaceUrl(NamedTuple):
    """Where commands run that do not run here: a host by SSH, or a guest behind a port or a socket file (`path`)."""

    text: str
    scheme: str
    user: str
    host: str
    port: int
    path: str

    @property
    def target(self) -> Url:
        """The host and the port, as connections are made to."""
        return Url(self.scheme, self.host, self.port, "")


def parse_place(text: str) -> PlaceUrl:
    """Read `ssh://user@host[:port]`, `guest://host:port` or `guest+unix:///path`. Raises ValueError."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ValueError("a place is ssh://user@host:port, guest://host:port or guest+unix:///path")
    scheme, user, v6, host, port, path = match.groups()
    if path is not None:
        return PlaceUrl(text, "guest+unix", "", "", 0, path)
    if (scheme == "ssh") is not bool(user):
        raise ValueError("a place by SSH names the user, and a guest has none")
    if scheme == "guest" and port is None:
        raise ValueError("a guest's place names the port")
    number = int(port) if port else _SSH_PORT
    if number > 65535:
        raise ValueError(f"port {number} does not exist")
    return PlaceUrl(text, scheme, user or "", v6 or host, number, "")


def parse_url(text: str) -> Url:
    """Read an absolute http or https URL: lower-case ASCII host, path, percent-encoded, without user, fragment or dot
    segments. Raises ValueError."""
    match = _URL.fullmatch(text) if len(text) <= MAX_URL else None
    if match is None:
        raise ValueError(
            f"a URL is absolute http(s) with a lower-case host (without a dot at its end) and a path, percent-encoded, without "
            f"user and fragment, at most {MAX_URL} characters"
        )
    scheme, v6, host, port, target = match.groups()
    number = int(port) if port else _DEFAULT_PORTS[scheme]
    if number > 65535:
        raise ValueError(f"port {number} does not exist")
    if v6:
        IPv6Address(v6)  # raises for what only looks like one
    if _DOTS.search(target.partition("?")[0]):
        raise ValueError("the URL's path has dot segments, which servers resolve to another path")
    return Url(scheme, v6 or host, number, target)


def parse_websocket_url(text: str) -> Url:
    """Read a ws or wss URL, as the http or https URL that its handshake is sent to (RFC 6455 §3). Raises ValueError."""
    if not text.startswith(("ws://", "wss://")):
        raise ValueError("a WebSocket's URL begins with ws:// or wss://")
    return parse_url(f"http{text.removeprefix('ws')}")


@lru_cache(maxsize=256)  # every call asks, and there are few services
def parse_base(text: str) -> Url:
    """Read where a service lives, below which its paths are: as `parse_url`, but people may write scheme and host in
    capitals and leave out the path, and there is no query. The target ends without a slash, and is empty for a whole
    host. Raises ValueError."""
    if not text.isascii():
        raise ValueError("an address has ASCII characters only: write a host's other letters as xn--")
    scheme, _, rest = text.partition("://")
    authority, _, path = rest.partition("/")
    url = parse_url(f"{scheme}://{authority}/".lower() + path)
    if "?" in url.target:
        raise ValueError("the address of a service has no query")
    return url._replace(target=url.target.rstrip("/"))


def resolve_location(base: Url, location: str) -> Url:
    """Where a Location header leads, seen from `base`. Raises ValueError."""
    joined = urljoin(f"{base.scheme}://{base.host_port}{base.target}", location)
    return parse_url(joined.partition("#")[0])
