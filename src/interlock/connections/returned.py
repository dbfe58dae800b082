"""What a browser brings back from a service's pages. Pure; no word of the service's goes on."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from interlock.connections import callback
from interlock.connections.install_errors import CallbackRefused
from interlock.connections.installs import Reason
from interlock.kernel import Secret

_MAX_QUERY: Final = 16_384
_MAX_FIELDS: Final = 50
_INSTALLATION: Final = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The parameters that count. `error` is the service's own word: it is mapped, never repeated."""

    state: Secret
    code: Secret | None
    error: str | None
    issuer: str | None
    installation_id: str | None = None


def parse(query: str) -> Returned:
    """The callback's query. Raises CallbackRefused for one that cannot be read, lacks a state, says a parameter twice, or brings
    neither a code nor an error, nor tells of an app's installation."""
    if len(query) > _MAX_QUERY:
        raise CallbackRefused(f"the callback's query has {len(query)} characters; the limit is {_MAX_QUERY}")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise CallbackRefused("the callback's query cannot be read") from None
    told = dict(pairs)
    if len(told) != len(pairs):
        raise CallbackRefused("the callback says a parameter twice")
    state, code, error = (told.get(name) for name in ("state", "code", "error"))
    if not state:
        raise CallbackRefused("the callback has no state")
    if not code and not error and "setup_action" not in told:
        raise CallbackRefused("the callback has neither a code nor an error")
    installation = told.get("installation_id", "")
    return Returned(
        state=Secret(state),
        code=Secret(code) if code else None,
        error=error or None,
        issuer=told.get("iss"),
        installation_id=installation if _INSTALLATION.fullmatch(installation) else None,
    )


def refusal(told: Returned, *, issuer: str | None, iss_required: bool, app: bool = False) -> Reason | None:
    """Why what was brought ends the install, None if its code may be sent. Who answers is checked first: what another than the
    `issuer` that was asked says means nothing (RFC 9207 §2.4). `app`: an app was to be installed, which somebody else may have
    to allow first."""
    if not callback.issuer_fits(issuer, told.issuer, required=iss_required):
        return Reason.ISSUER_MISMATCH
    if told.error is not None:
        return Reason.of(callback.refusal(told.error))
    if app and told.installation_id is None:
        return Reason.NOT_INSTALLED
    return None if told.code is not None else Reason.MISCONFIGURED
