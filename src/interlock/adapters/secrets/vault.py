"""Secrets in HashiCorp Vault: `vault:MOUNT/PATH#FIELD` of a key/value store of version 2, by its HTTP API."""

import re
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from interlock import connections, plane
from interlock.adapters.secrets.file import Files, secret_of
from interlock.kernel import InvalidJson, Secret, parse_json

_PLACE: Final = re.compile(r"([^/#]+)/([^#]+)#([^#]+)")
_MOST_BYTES: Final = 65_536
_OK, _DENIED, _NOT_FOUND, _SEALED = 200, 403, 404, 503


class Ask(Protocol):
    """Sends a request that shows these secrets, by name. Raises ErrandFailed."""

    def __call__(
        self,
        method: str,
        url: str,
        *,
        show: connections.Show,
        secrets: Mapping[str, Secret],
        tenant_id: str,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Awaitable[connections.Answer]: ...


class Vault:
    """Asks the server of VAULT_ADDR, in the namespace of VAULT_NAMESPACE if there is one, with the token of VAULT_TOKEN or of
    the file `~/.vault-token`, as Vault's own program does."""

    def __init__(self, ask: Ask, environ: Mapping[str, str]) -> None:
        self._ask = ask
        self._environ = environ

    async def fetch(self, place: str, *, tenant_id: str) -> Secret:
        """As `connections.SecretSource`."""
        match = _PLACE.fullmatch(place)
        if match is None or any(part in ("", ".", "..") for part in match[2].split("/")):
            raise connections.SecretUnavailable("what follows `vault:` is not MOUNT/PATH#FIELD")
        mount, path, field = match.groups()
        where = f"Vault's {mount}/{path}"
        url = f"{self._address()}/v1/{quote(mount, safe='')}/data/{quote(path)}"
        token, namespace = await self._token(tenant_id), self._environ.get("VAULT_NAMESPACE")
        headers = (("accept", "application/json"), ("x-vault-request", "true"))
        try:
            answer = await self._ask(
                "GET",
                url,
                headers=headers if not namespace else (*headers, ("x-vault-namespace", namespace)),
                show=lambda handle: (plane.HeaderCredential(handle=handle, name="X-Vault-Token", template="{token}"),),
                secrets={"token": token},
                tenant_id=tenant_id,
            )
        except connections.ErrandFailed as error:
            raise connections.SecretUnavailable(
                f"Vault could not be asked: {error.message}", next_step=error.next_step
            ) from error
        if answer.status != _OK:
            raise _refused(answer.status, where)
        return _read(answer.body, field, where)

    def _address(self) -> str:
        try:
            return plane.parse_base(self._environ.get("VAULT_ADDR", "")).text
        except ValueError as error:
            raise connections.SecretUnavailable(
                f"VAULT_ADDR is not set, or is no address: {error}", next_step="Set it to the address of your Vault."
            ) from error

    async def _token(self, tenant_id: str) -> Secret:
        if text := self._environ.get("VAULT_TOKEN", "").strip():
            return Secret(text)
        home = self._environ.get("HOME") or "/"
        try:
            return await Files().fetch(str(Path(home) / ".vault-token"), tenant_id=tenant_id)
        except connections.SecretUnavailable as error:
            raise connections.SecretUnavailable(
                f"there is no token for Vault: VAULT_TOKEN is not set, and {error.message}",
                next_step="`vault login`, or set VAULT_TOKEN.",
            ) from error


def _refused(status: int, where: str) -> connections.SecretUnavailable:
    said = {
        _DENIED: (
            f"the token may not read {where}, or has ended",
            "`vault token lookup`; `vault login` gets another one.",
        ),
        _NOT_FOUND: (f"{where} is not there", "Look with `vault kv list`; the store must be of version 2."),
        _SEALED: ("Vault is sealed, or in maintenance", "`vault status` tells."),
    }
    message, next_step = said.get(status, (f"Vault answered {status}", "`vault status` tells how it is."))
    return connections.SecretUnavailable(message, next_step=next_step)


def _read(body: bytes, field: str, where: str) -> Secret:
    try:
        found = parse_json(body, what="Vault's answer")
    except InvalidJson:
        raise connections.SecretUnavailable("Vault did not answer with JSON") from None
    for name in ("data", "data", field):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, str):
        raise connections.SecretUnavailable(f"{where} has no text in the field {field[:100]!r}")
    return secret_of(found.encode(), f"{where}#{field[:100]}", most=_MOST_BYTES)
