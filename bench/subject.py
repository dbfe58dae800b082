"""Interlock as it is measured: opened as a program opens it, with one small connector and one connection."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench import peer
from interlock import connections, policy, runs, sdk
from interlock.app import Interlock, assembly
from interlock.app.settings import ExecutionSettings, Settings
from interlock.kernel import Caller, Redactor, Secret, SystemClock, Uuid7Ids
from interlock.runs.call import Call, check_input

CAPABILITY = "acme.ticket.create"
INPUT = {"title": "Signal 7 fails", "text": "The lamp at the north end has been dark since Monday.", "priority": 2}
TOKEN = "tok_0123456789abcdefghijklmnopqrstuv"
CALLER = Caller(tenant_id="default", actor="local:bench", roles=frozenset({"approver"}))


class TicketCreate(sdk.Input):
    """Open a ticket."""

    title: str
    text: str
    priority: int


class Ticket(sdk.Record):
    """A ticket."""

    number: int
    title: str
    state: str
    author: str = sdk.at("/user/login")
    labels: list[str]


def connector(base_url: str) -> sdk.Connector:
    """One operation, declared as data."""
    return sdk.Connector(
        "acme",
        version="1.0.0",
        description="Acme's tickets.",
        base_url=base_url,
        category="developer_tools",
        auth=[sdk.token_profile(scopes=["tickets"]), sdk.client_credentials(token_url=peer.TOKENS)],
        operations=[
            sdk.post(
                "ticket.create",
                "/tickets",
                input=TicketCreate,
                output=Ticket,
                scopes=["tickets"],
                surface=sdk.local("only measured"),
                reconcile=sdk.find("/tickets", items="", match={"/title": "{input.title}"}),
            )
        ],
    )


RULES = policy.Policy(
    rules=(
        policy.Rule(rule_id="tickets", then=policy.Effect.ALLOW, capability=("acme.*",), role=("approver",)),
        policy.Rule(rule_id="no-deletes", then=policy.Effect.DENY, effect=("delete",), environment=("production",)),
        policy.Rule(rule_id="slow", then=policy.Effect.SHED, pressure={"store_latency_ms": ">5000"}),
    )
)


def _settings(store: str, folder: Path, peer: str) -> Settings:
    os.environ["INTERLOCK_KEY"] = os.urandom(32).hex()
    allowed = ExecutionSettings(egress_allow=(peer.removeprefix("http://"),))
    return Settings(store=store, folder=folder, blobs="blobs", actor=CALLER.actor, execution=allowed)


@asynccontextmanager
async def interlock(store: str, folder: Path, peer: str) -> AsyncGenerator[Interlock]:
    """The facade, connected to the peer."""
    manifest = connector(peer).manifest
    settings = _settings(store, folder, peer)
    async with Interlock.open(settings=settings, policy=RULES, connectors=[manifest]) as il:
        await il.connections.connect_token("acme", TOKEN)
        yield il


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rooms behind the facade, and one call that is ready to be made."""

    parts: assembly.Parts
    call: Call

    @property
    def wiring(self) -> runs.Wiring:
        """The rooms that a run is made with."""
        return self.parts.wiring


@asynccontextmanager
async def rooms(store: str, folder: Path, peer: str = "http://127.0.0.1:9") -> AsyncGenerator[Rooms]:
    """The rooms, without background tasks."""
    clock = SystemClock()
    parts = await assembly.assemble(
        _settings(store, folder, peer),
        file=None,
        clock=clock,
        ids=Uuid7Ids(clock),
        create=True,
        rules=RULES,
        more_connectors=[connector(peer).manifest],
    )
    try:
        await parts.wiring.ownership.begin()
        yield Rooms(parts=parts, call=await _call(parts))
    finally:
        await assembly.close(parts)


async def _call(parts: assembly.Parts) -> Call:
    desk, capability = parts.wiring.connections, parts.wiring.catalog.fetch(CAPABILITY)
    grant = connections.TokenGrant(
        connector_id="acme",
        profile_id="token",
        fields=("token",),
        secrets={"token": Secret(TOKEN)},
        subject="octo-agent",
        scopes=frozenset({"tickets"}),
    )
    await desk.connect_token(CALLER, grant)
    resolved = await desk.resolve(CALLER, connector_id="acme", scopes=frozenset({"tickets"}))
    redactor = Redactor(await desk.secrets_of(resolved))
    request = runs.Request(capability=CAPABILITY, input=INPUT, timeout=timedelta(seconds=60))
    return Call(
        caller=CALLER,
        request=request,
        capability=capability,
        resolved=resolved,
        redactor=redactor,
        given=check_input(capability, INPUT),
    )
