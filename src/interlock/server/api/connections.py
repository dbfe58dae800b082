"""Accounts at services, those that are being connected, and leases on them. Secrets come in, and never go out."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, create_model
from starlette.responses import Response

from interlock import connections
from interlock.kernel import JSON, Secret, document
from interlock.server.api.access import Asking, Operating, Reading, Whole
from interlock.server.api.answers import Cursor, Limit, id_of, paged, raw, told
from interlock.server.api.shapes import Table, page, shape

router: Final = APIRouter(tags=["connections"])

Connection, Lease = shape(connections.Connection), shape(connections.Lease)
_CHECKED: dict[str, Any] = {"verdict": (str, ...), "reason": (str | None, ...), "connection": (Connection, ...)}
Checked = create_model("Checked", __doc__="A connection after its check.", **_CHECKED)
Events = create_model("ConnectionEvents", events=(list[Table], ...))
_INSTALL: dict[str, Any] = {
    **dict.fromkeys(("install_id", "tenant_id", "connector_id", "profile_id", "connection_name", "actor"), (str, ...)),
    **dict.fromkeys(("connection_id", "reason", "base_url", "subject"), (str | None, ...)),
    "flow": (connections.Flow, ...),
    "state": (connections.InstallState, ...),
    "scopes_asked": (list[str], ...),
    "expires_at": (str, ...),
    "link": (str | None, Field(description="For whoever is to connect the account; told once, to who began.")),
}
Install = create_model("Install", __doc__="One try to connect a service.", **_INSTALL)

Ref = Annotated[str, id_of("connection", "con")]
InstallId = Annotated[str, id_of("install", "ins")]
LeaseId = Annotated[str, id_of("lease", "lse")]


class Connect(BaseModel):
    """A service and what opens it: `token`, or the fields of its auth profile."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"connector": "github", "token": "ghp_…"}]}
    )
    connector: str
    token: SecretStr | dict[str, SecretStr]
    profile: str | None = None
    name: str | None = None
    base_url: str | None = None
    scopes: list[str] | None = None
    expires_at: AwareDatetime | None = None
    overlap: Annotated[float, Field(ge=0, le=300, description="Seconds.")] = 0


class Begin(BaseModel):
    """A service that a person agrees to connect, or that a program connects alone."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"connector": "github"}]})
    connector: str
    given: dict[str, SecretStr] | None = None
    profile: str | None = None
    name: str | None = None
    base_url: str | None = None
    scopes: list[str] | None = None


class Revoke(BaseModel):
    """Why, and whether the service is asked to end the tokens, too."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "lost laptop"}]})
    reason: str = ""
    at_provider: bool = True


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "not needed any more"}]})
    reason: str = ""


@router.get("/connections", response_model=page("connections", Connection), summary="List connections, newest first")
async def list_connections(
    il: Reading,
    connector: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    found = await il.connections.list(connector=connector, cursor=cursor, limit=limit)
    return paged("connections", found, limit=limit, key="connection_id")


@router.post("/connections", response_model=Connection, summary="Connect a service with a token")
async def connect(il: Operating, asked: Connect) -> Response:
    """The service is asked first whose it is. The same name again gives the connection a new credential."""
    token = _secrets(asked.token) if isinstance(asked.token, dict) else Secret(asked.token.get_secret_value())
    given = {name: getattr(asked, name) for name in ("profile", "name", "base_url", "scopes", "expires_at", "overlap")}
    return told(await il.connections.connect_token(asked.connector, token, **given))


@router.get("/connections/{ref:path}/events", response_model=Events, summary="What happened to a connection, in order")
async def events(
    il: Reading,
    ref: Ref,
    after_seq: Annotated[int, Query(ge=0, le=2**53, description="Only events after this number.")] = 0,
    limit: Limit = 500,
) -> Response:
    found = await il.connections.events(ref, after_seq=after_seq, limit=limit)
    return raw({"events": [{**each.record(), "tenant_id": each.tenant_id} for each in found]})


@router.post(
    "/connections/{ref:path}/revoke", response_model=Connection, summary="Wipe its credentials and end its leases"
)
async def revoke(il: Operating, ref: Ref, asked: Revoke) -> Response:
    return told(await il.connections.revoke(ref, reason=asked.reason, at_provider=asked.at_provider))


@router.post("/connections/{ref:path}/refresh", response_model=Connection, summary="Renew the credential now")
async def refresh(il: Operating, ref: Ref) -> Response:
    return told(await il.connections.refresh(ref))


@router.post(
    "/connections/{ref:path}/check", response_model=Checked, summary="Ask the service whether it takes the credential"
)
async def check(il: Asking, ref: Ref) -> Response:
    return told(await il.connections.check(ref))


@router.get(
    "/connections/{ref:path}/leases", response_model=page("leases", Lease), summary="The leases that are good now"
)
async def list_leases(il: Whole, ref: Ref, cursor: Cursor = None, limit: Limit = 100) -> Response:
    return paged(
        "leases", await il.connections.leases.list(ref, cursor=cursor, limit=limit), limit=limit, key="lease_id"
    )


@router.get("/connections/{ref:path}", response_model=Connection, summary="One connection, by id or name")
async def fetch(il: Reading, ref: Ref) -> Response:
    return told(await il.connections.fetch(ref))


@router.post("/leases/{lease_id}/revoke", response_model=Lease, summary="End a lease")
async def revoke_lease(il: Operating, lease_id: LeaseId, asked: Reason) -> Response:
    return told(await il.connections.leases.revoke(lease_id, reason=asked.reason))


@router.get("/installs", response_model=page("installs", Install), summary="List installs, newest first")
async def list_installs(il: Whole, cursor: Cursor = None, limit: Limit = 100) -> Response:
    found = await il.connections.installs.list(cursor=cursor, limit=limit)
    last = found[-1].install_id if len(found) >= limit else None
    return raw({"installs": [_install(each) for each in found], "next_cursor": last})


@router.post("/installs", response_model=Install, summary="Begin to connect a service")
async def begin(il: Operating, asked: Begin) -> Response:
    """For an account that a person agrees to connect, `link` is where that person goes."""
    installs = il.connections.installs
    invited = await installs.invite(
        asked.connector,
        None if asked.given is None else _secrets(asked.given),
        profile=asked.profile,
        name=asked.name,
        base_url=asked.base_url,
        scopes=asked.scopes,
    )
    return raw(_install(await installs.fetch(invited.install_id), link=invited.url.reveal()))


@router.get("/installs/{install_id}", response_model=Install, summary="How an install stands")
async def fetch_install(il: Whole, install_id: InstallId) -> Response:
    return raw(_install(await il.connections.installs.fetch(install_id)))


@router.post("/installs/{install_id}/cancel", response_model=Install, summary="End an install")
async def cancel_install(il: Operating, install_id: InstallId) -> Response:
    return raw(_install(await il.connections.installs.cancel(install_id)))


def _install(install: connections.Install, *, link: str | None = None) -> JSON:
    """What may be told of it: no digest of its tokens, and nothing that is sealed."""
    names = _INSTALL.keys() - {"link", "subject"}
    told: dict[str, JSON] = {name: document(getattr(install, name)) for name in sorted(names)}
    return {**told, "subject": None if install.found is None else install.found.subject, "link": link}


def _secrets(given: dict[str, SecretStr]) -> dict[str, str | Secret]:
    return {name: Secret(value.get_secret_value()) for name, value in given.items()}
