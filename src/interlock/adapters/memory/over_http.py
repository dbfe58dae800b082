"""A connection of one's own to an endpoint for embeddings."""

import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import anyio

from interlock import memory
from interlock.kernel import Secret

if TYPE_CHECKING:
    import httpx2

    from interlock import plane

_CONNECTING: Final = 10.0


class HttpTransport:
    """`memory.Transport` over HTTP/1.1: addresses are resolved once and checked, certificates are verified, redirects are not
    followed, and neither proxies nor keys are taken from the environment, but for the one variable that the endpoint names."""

    largest: int = 33_554_432

    def __init__(self, endpoint: memory.Endpoint) -> None:
        """Raises InvalidConfig."""
        from interlock import plane  # here, as all of it in this module: most memories need none

        self._endpoint = endpoint
        self._base = base_of(endpoint)
        try:
            self._addresses = plane.AddressPolicy(allow=[*endpoint.allow, *_written(self._base)])
        except plane.InvalidAllowance as error:
            raise memory.InvalidConfig(f"embedder.allow: {error}") from error
        self._key = key_of(endpoint)
        self._client: httpx2.AsyncClient | None = None

    async def post(self, body: bytes, *, most: int, tenant: str) -> memory.Answer:
        del tenant  # a connection of one's own asks for nobody else
        import httpx2

        seconds = self._endpoint.timeout
        told = f"the endpoint for embeddings at {self._base.host_port}"
        try:
            with anyio.fail_after(seconds):
                return await self._post(body, most)
        except TimeoutError as error:
            raise memory.DeadlineExceeded(f"{told} did not answer within {seconds:g} seconds") from error
        except (httpx2.TransportError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"[:300]
            raise memory.ProviderUnavailable(f"{told} gave no whole answer: {reason}") from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _post(self, body: bytes, most: int) -> memory.Answer:
        client = self._opened()
        base = self._base
        headers = {"host": base.host_header, "content-type": "application/json", "accept-encoding": "identity"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key.reveal()}"
        address = await self._resolved()
        written = f"[{address}]" if ":" in address else address
        url = f"{base.scheme}://{written}:{base.port}{base.target}/embeddings"
        extensions = {"sni_hostname": base.host}
        async with client.stream("POST", url, content=body, headers=headers, extensions=extensions) as answer:
            whole = bytearray()
            async for piece in answer.aiter_bytes():
                whole += piece
                if len(whole) > most:
                    raise memory.BrokenCapability(f"the endpoint for embeddings answers with more than {most} bytes")
            return memory.Answer(answer.status_code, bytes(whole), {k.lower(): v for k, v in answer.headers.items()})

    def _opened(self) -> "httpx2.AsyncClient":
        import httpx2  # here, for those whose vectors come from elsewhere

        if self._client is None:
            verify = httpx2.create_ssl_context(trust_env=False)
            timeout = httpx2.Timeout(None, connect=_CONNECTING)
            self._client = httpx2.AsyncClient(verify=verify, trust_env=False, follow_redirects=False, timeout=timeout)
        return self._client

    async def _resolved(self) -> str:
        """An address that may be connected to. Raises InvalidConfig."""
        host, port = self._base.host, self._base.port
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        permitted, refusal = self._addresses.permitted(host, port, [str(each[4][0]) for each in found])
        if not permitted:
            raise memory.InvalidConfig(
                refusal, next_step="Add its host:port to the endpoint's `allow`, if it is meant."
            )
        return permitted[0]


def base_of(endpoint: memory.Endpoint) -> "plane.Url":
    """What `/embeddings` follows. Raises InvalidConfig for an address that is none, or to which a key may not be sent."""
    from interlock import plane

    try:
        base = plane.parse_base(endpoint.url)
    except ValueError as error:
        raise memory.InvalidConfig(f"embedder.url: {error}") from error
    if base.scheme != "https" and not _written(base):
        raise memory.InvalidConfig(
            "embedder.url: only https, or http to an address that is written as one, or localhost"
        )
    return base


def key_of(endpoint: memory.Endpoint) -> Secret | None:
    """The endpoint's key, from the environment. Raises InvalidConfig where it is not."""
    if (name := endpoint.key_env) is None:
        return None
    if not (value := os.environ.get(name, "").strip()):
        raise memory.InvalidConfig(f"the environment variable {name}, which is to have the endpoint's key, is not set")
    if not value.isascii() or not value.isprintable():
        raise memory.InvalidConfig(f"the environment variable {name} has signs that no key has")
    return Secret(value)


def _written(base: "plane.Url") -> list[str]:
    """The endpoint itself, where its configuration says by an address that it is not public: this machine, one beside it."""
    try:
        here = ip_address(base.host).is_private
    except ValueError:
        here = base.host == "localhost"
    return [base.host_port] if here else []
