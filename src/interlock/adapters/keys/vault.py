"""A root key that lies in the transit engine of HashiCorp Vault, and never leaves it."""

import base64
import binascii
import ipaddress
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio

from interlock import plane
from interlock.adapters.keys.errors import KeyInvalid, RootRefused, RootUnavailable
from interlock.adapters.keys.model import Wrapped
from interlock.adapters.keys.tying import tie, untie
from interlock.kernel import JSON, InvalidJson, JsonLimits, parse_json

if TYPE_CHECKING:
    import httpx2

_SECONDS: Final = 10.0
_LIMITS: Final = JsonLimits(max_bytes=65_536)


class VaultTransit:
    """A `RootCipher`: a key of the transit engine, of a kind that authenticates what it encrypts (`aes256-gcm96`).

    `key` is the engine's mount and the key's name (`transit/interlock`), `token` is asked for each time, since Vault's agent
    renews it. Other keys of the store are wrapped and unwrapped by one request each, once in each process. Methods raise
    RootUnavailable and RootRefused.
    """

    def __init__(
        self,
        *,
        address: str,
        key: str,
        token: Callable[[], str],
        namespace: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        try:
            self._address = plane.parse_base(address)
        except ValueError as error:
            raise KeyInvalid(f"keys.vault_address: {error}") from error
        if self._address.scheme != "https" and not _is_loopback(self._address.host):
            raise KeyInvalid(
                "keys.vault_address: only https, or http to this machine: keys and token would be read on the way"
            )
        self._mount, _, self._name = key.rpartition("/")
        self._token = token
        self._namespace = namespace
        self._ssl_context = ssl_context
        self.root_id = f"vault:{'' if namespace is None else f'{namespace}/'}{key}"
        self.source = f"Vault at {self._address.host_port}"

    async def wrap(self, raw: bytes, *, aad: bytes) -> Wrapped:
        """Encrypt; `aad` must be given again to open."""
        answer = await self._ask("encrypt", {"plaintext": base64.b64encode(tie(raw, aad)).decode()})
        ciphertext = None if answer is None else answer.get("ciphertext")
        if not isinstance(ciphertext, str) or not ciphertext.startswith("vault:"):
            raise RootUnavailable(f"{self.source} did not answer as a transit engine does")
        return Wrapped(nonce=b"", ciphertext=ciphertext.encode())

    async def unwrap(self, wrapped: Wrapped, *, aad: bytes) -> bytes | None:
        """Decrypt. None: ciphertext or `aad` are not those that this key wrapped."""
        answer = await self._ask("decrypt", {"ciphertext": wrapped.ciphertext.decode("latin-1")})
        if answer is None:
            return None
        try:
            return untie(base64.b64decode(str(answer.get("plaintext")), validate=True), aad)
        except binascii.Error as error:
            raise RootUnavailable(f"{self.source} did not answer as a transit engine does") from error

    async def _ask(self, verb: str, body: dict[str, str]) -> dict[str, JSON] | None:
        """What it answers; None if it says that the ciphertext is none of this key."""
        import httpx2  # here, for those whose root key lies with them

        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        if self._namespace is not None:
            headers["X-Vault-Namespace"] = self._namespace
        url = f"{self._address.scheme}://{self._address.host_port}{self._address.target}/v1/{self._mount}/{verb}/{self._name}"
        verify = self._ssl_context or httpx2.create_ssl_context(trust_env=False)
        try:
            with anyio.fail_after(_SECONDS):
                async with httpx2.AsyncClient(verify=verify, trust_env=False, follow_redirects=False) as client:
                    answer = await client.post(url, json=body, headers=headers)
        except (httpx2.TransportError, TimeoutError) as error:
            reason = str(error) or f"no answer within {_SECONDS:.0f} seconds"
            raise RootUnavailable(f"{self.source} cannot be reached: {reason}"[:500]) from error
        return self._read(answer, verb)

    def _read(self, answer: "httpx2.Response", verb: str) -> dict[str, JSON] | None:
        try:
            document = parse_json(answer.content, limits=_LIMITS, what="answer of Vault")
        except InvalidJson:
            document = None
        told = document if isinstance(document, dict) else {}
        if answer.status_code == 200 and isinstance(data := told.get("data"), dict):
            return data
        problems = str(told.get("errors"))
        # What was altered is told by 400 or 500, whichever version it is.
        if verb == "decrypt" and ("message authentication failed" in problems or "invalid ciphertext" in problems):
            return None
        if answer.status_code in {400, 403, 404}:
            raise RootRefused(
                f"{self.source} refused to {verb} with the key {self._mount}/{self._name} (HTTP {answer.status_code})"
            )
        raise RootUnavailable(f"{self.source} answered with HTTP {answer.status_code}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
