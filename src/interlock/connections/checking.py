"""Asking the service whether it still takes a connection's credential, and whose it is now."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import anyio

from interlock import sdk
from interlock.connections import errors, renewal, transitions
from interlock.connections.changing import Change
from interlock.connections.connections import MAX_PAGE, Connections
from interlock.connections.history import Happening, Told
from interlock.connections.model import Connection, Credential, Resolved, SourceKind, State
from interlock.connections.ports import Standing
from interlock.connections.probing import Probed, probe
from interlock.connections.proving import Means
from interlock.connections.transitions import BROKEN, USABLE
from interlock.kernel import JSON, Caller, InterlockError, StoreError, Tx

_OTHER_ACCOUNT: Final = "another_account"
_AT_ONCE: Final = 8
_ROUNDED: Final = timedelta(minutes=1)
"""By how much one end may be told in two ways."""


class Verdict(StrEnum):
    """What a check found. `unasked`: the connection serves nobody, or its profile says of no way to ask."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    OTHER_ACCOUNT = _OTHER_ACCOUNT
    UNANSWERED = "unanswered"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A connection after its check, and why it is not well, in words of ours."""

    connection: Connection
    verdict: Verdict
    reason: str | None = None

    def record(self) -> dict[str, JSON]:
        """As JSON."""
        return {"verdict": self.verdict.value, "reason": self.reason, "connection": self.connection.record()}


class Checking:
    """Checks a tenant's connections. What was found is an event of the connection, and changes it where it is no longer true."""

    def __init__(self, means: Means, accounts: Connections) -> None:
        self._means = means
        self._accounts = accounts

    async def check(self, caller: Caller, ref: str) -> Checked:
        """Ask the service now. A credential that it refuses is renewed where that takes no person, and asked about again.

        Raises ConnectionNotFound, ConnectionChanged, StoreError, catalog.UnknownConnector.
        """
        place = (await self._accounts.fetch_connection(caller, ref)).connection_id
        while True:
            standing = await self._accounts.fetch_standing(caller, place)
            connection, credential = standing
            if credential is None or credential.ciphertext is None or connection.state not in USABLE | BROKEN:
                return Checked(connection=connection, verdict=Verdict.UNASKED, reason=f"it is {connection.state.value}")
            profile = await self._means.profile(connection.tenant_id, connection.connector_id, connection.profile_id)
            if profile.probe is None or not profile.apply:
                return Checked(connection=connection, verdict=Verdict.UNASKED, reason="its auth profile has no probe")
            try:
                probed = await self._ask(connection, credential, profile)
            except errors.ProbeFailed as error:
                if not error.refused:
                    return await self._note(caller, standing, Verdict.UNANSWERED, error.message)
                after = await self._accounts.report_rejected(
                    caller, Resolved(connection=connection, credential=credential), "rejected_by_provider"
                )
                if after.current_credential_id == credential.credential_id:
                    return await self._note(caller, standing, Verdict.REFUSED, error.message)
            except (errors.SecretUnavailable, errors.SecretExposed, errors.CredentialDamaged) as error:
                return await self._note(caller, standing, Verdict.UNANSWERED, error.message)
            else:
                return await self._found(caller, standing, probed, profile)

    async def check_all(self, caller: Caller) -> list[Checked]:
        """Check all of the tenant's connections, some at a time; newest first. Raises StoreError."""
        found: list[Connection] = []
        while page := await self._accounts.list_connections(
            caller, cursor=found[-1].connection_id if found else None, limit=MAX_PAGE
        ):
            found += page
        checked: dict[str, Checked] = {}
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        lost: list[StoreError] = []

        async def check(connection: Connection) -> None:
            async with limiter:
                try:
                    checked[connection.connection_id] = await self.check(caller, connection.connection_id)
                except StoreError as error:
                    lost.append(error)  # raised outside the group, which would wrap it in another
                    tasks.cancel_scope.cancel()
                except InterlockError as error:
                    checked[connection.connection_id] = Checked(
                        connection=connection, verdict=Verdict.UNASKED, reason=error.message
                    )

        async with anyio.create_task_group() as tasks:
            for each in found:
                tasks.start_soon(check, each)
        if lost:
            raise lost[0]
        return [checked[each.connection_id] for each in found]

    async def _ask(self, connection: Connection, credential: Credential, profile: sdk.AuthProfile) -> Probed:
        return await probe(
            profile,
            await self._accounts.open(connection, credential),
            base_url=connection.base_url or profile.base_url,
            tenant_id=connection.tenant_id,
            errands=self._means.errands,
        )

    async def _note(self, caller: Caller, standing: Standing, verdict: Verdict, reason: str) -> Checked:
        """Record that the service did not accept the credential; what follows from that stands in the connection already."""
        at = self._means.clock.now()
        told = Told(kind=Happening.CHECKED, actor=caller.actor, reason=reason, data={"verdict": verdict.value})

        def decide(here: Standing) -> Change | None:
            return Change(replace(here[0], revision=here[0].revision + 1, updated_at=at), [told])

        after = await self._means.changing.change(caller, standing[0].connection_id, decide, at=at)
        return Checked(connection=after, verdict=verdict, reason=reason)

    async def _found(self, caller: Caller, standing: Standing, probed: Probed, profile: sdk.AuthProfile) -> Checked:
        connection, credential = standing
        assert credential is not None
        at = self._means.clock.now()
        way = renewal.way(profile, credential.fields)

        def decide(here: Standing) -> Change | None:
            if here[0].current_credential_id != credential.credential_id or here[0].state not in USABLE | BROKEN:
                return None  # another one by now
            change = accepted(here[0], probed, credential, way=way, actor=caller.actor, at=at)
            ends = change.after.credential_expires_at

            def write(tx: Tx) -> None:
                if ends is not None and ends != here[0].credential_expires_at:
                    self._means.records.end_sooner(tx, credential.credential_id, ends)

            return change._replace(also=write)

        after = await self._means.changing.change(caller, connection.connection_id, decide, at=at)
        if not _is_other(connection, probed):
            return Checked(connection=after, verdict=Verdict.ACCEPTED)
        reason = f"the credential is for the account {probed.subject!r}, and not for {connection.subject!r}"
        return Checked(connection=after, verdict=Verdict.OTHER_ACCOUNT, reason=reason)


def accepted(
    connection: Connection,
    probed: Probed,
    credential: Credential,
    *,
    way: renewal.Way | None,
    actor: str,
    at: datetime,
) -> Change:
    """What a connection becomes whose credential the service accepts, and what is told of it. Pure.

    One that the service had refused serves again, unless it was the refresh that was refused: that is not mended by it. One that
    belongs to another account now serves nobody, since runs are approved for an account. The end is what the service says, where
    that is sooner than what was known.
    """
    data: dict[str, JSON] = {"verdict": Verdict.ACCEPTED.value}
    if _is_other(connection, probed):
        told = [Told(kind=Happening.CHECKED, actor=actor, reason=_OTHER_ACCOUNT, data={"verdict": _OTHER_ACCOUNT})]
        if connection.state in USABLE:
            told.append(Told(kind=Happening.REAUTH_REQUIRED, actor=actor, reason=_OTHER_ACCOUNT))
            return Change(transitions.move(connection, State.REAUTH_REQUIRED, at=at, reason=_OTHER_ACCOUNT), told)
        return Change(replace(connection, revision=connection.revision + 1, updated_at=at), told)
    mends = connection.state is State.REAUTH_REQUIRED and connection.refresh.failures == 0
    if mends:
        connected = transitions.connect(connection, at=at)
        refresh = renewal.scheduled(connected, way=way, expires_at=credential.expires_at, at=at)
        after = replace(connected, refresh=refresh)
    else:
        after = replace(connection, revision=connection.revision + 1, updated_at=at)
    after = replace(
        _ended_sooner(after, probed.expires_at, way=way, at=at),
        subject=connection.subject or probed.subject,
        scopes=connection.scopes if probed.scopes is None else probed.scopes,
    )
    data |= _changes(connection, after)
    told = [Told(kind=Happening.CHECKED, actor=actor, data=data)]
    return Change(after, [*told, Told(kind=Happening.RECOVERED, actor=actor)] if mends else told)


def _is_other(connection: Connection, probed: Probed) -> bool:
    return None not in (connection.subject, probed.subject) and connection.subject != probed.subject


def _ended_sooner(
    connection: Connection, ends: datetime | None, *, way: renewal.Way | None, at: datetime
) -> Connection:
    """The connection, whose credential ends then at the latest. A refresh that is under way goes on."""
    known = connection.credential_expires_at
    if (
        ends is None
        or connection.secret_source is not SourceKind.STORED
        or (known is not None and known <= ends + _ROUNDED)
    ):
        return connection
    renewed = way is not None and connection.state in USABLE
    due = renewal.due_at(connection.connection_id, expires_at=ends, at=at) if renewed else None
    return replace(connection, credential_expires_at=ends, refresh=replace(connection.refresh, due_at=due))


def _changes(before: Connection, after: Connection) -> Mapping[str, JSON]:
    """The facts that were not as the connection had them."""
    was, now = before.record(), after.record()
    return {name: now[name] for name in ("subject", "scopes", "credential_expires_at") if now[name] != was[name]}
