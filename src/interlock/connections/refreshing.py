"""Renewing credentials: by one process at a time, and with a trace of every request whose answer may be lost."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, TypeAlias, TypeVar

import anyio

from interlock import sdk
from interlock.connections import answer, discovery, errors, exchange, fields, installs, obtaining, renewal
from interlock.connections.answer import Tokens
from interlock.connections.changing import Change
from interlock.connections.exchange import Errand
from interlock.connections.model import MAX_LEASE, Connection, Credential, SourceKind
from interlock.connections.ports import Standing
from interlock.connections.probing import probe
from interlock.connections.renewal import CLAIM, OUTCOME_UNKNOWN, Failure, Way
from interlock.connections.safe import Safe
from interlock.connections.shapes import Answer
from interlock.connections.steps import Means
from interlock.connections.transitions import USABLE
from interlock.connections.unwanted import Unwanted
from interlock.kernel import Caller, InterlockError, Secret, StoreError, Tx

T = TypeVar("T")

_log = logging.getLogger(__name__)

_SKEW: Final = timedelta(minutes=5)
"""By how much the clocks of processes may differ: a claim that ended longer ago has lapsed by any of them."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_YOUNG: Final = timedelta(seconds=60)
_AT_ONCE: Final = 8
_BATCH: Final = 100

_Decide: TypeAlias = Callable[[Standing], Change | None]


class Refreshing:
    """Gives connections new credentials. Whoever refreshes claims it first, by compare-and-set in the connection's row and before
    the request leaves; all others wait for what comes of it, in whatever process. A claim whose owner is gone says that its
    request may have arrived."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._safe = Safe(means.cipher)
        self._unwanted = Unwanted(means)
        self._watched: dict[str, tuple[int, float]] = {}

    async def fresh(self, caller: Caller, standing: Standing) -> Standing:
        """The connection for a call: renewed first if that is due. What cannot be renewed stays as it is."""
        connection, credential = standing
        now, due = self._means.clock.now(), connection.refresh.due_at
        if due is None or due > now or credential is None or connection.state not in USABLE:
            return standing
        over = credential.expires_at is not None and credential.expires_at <= now
        try:
            await self.refresh(caller, connection.connection_id, seen=credential.credential_id, wait=over)
            return await self._find(caller, connection.connection_id) or standing
        except InterlockError as error:
            _log.warning("connection %s was not renewed: %s", connection.name, error)
            return standing

    async def reject(self, caller: Caller, standing: Standing) -> Connection | None:
        """The service refused this credential: the connection with the next one, or as it is while one may still be had. None if
        only a person can help."""
        connection, credential = await self._find(caller, standing[0].connection_id) or standing
        now, seen = self._means.clock.now(), standing[0].current_credential_id
        if connection.current_credential_id != seen or connection.state not in USABLE:
            return connection
        if credential is None or await self._way(standing) is None:
            return None
        if connection.refreshed_at is not None and credential.created_at + _YOUNG > now:
            return None  # it is new, and refused all the same
        if connection.refresh.failures and (due := connection.refresh.due_at) is not None and due > now:
            return connection
        return await self.refresh(caller, connection.connection_id, seen=seen, over=True)

    async def refresh(
        self, caller: Caller, ref: str, *, seen: str | None = None, wait: bool = True, over: bool = False
    ) -> Connection:
        """The connection with another credential than `seen` (None: the present one), or as it is if there is none to be had:
        then its state and its reason say why. Without `wait` it stays as it is while others refresh it. `over`: the present
        credential serves nobody any more.

        Raises ConnectionChanged, StoreError, catalog.UnknownConnector.
        """
        pause = _FIRST_PAUSE
        while True:
            standing = await self._find(caller, ref)
            if standing is None:
                raise errors.ConnectionNotFound(ref)
            connection, credential = standing
            seen = seen or connection.current_credential_id
            way = await self._way(standing)
            stale = connection.current_credential_id != seen or connection.state not in USABLE
            if stale or credential is None or way is None:
                return connection
            if connection.refresh.owner_id is not None and not self._has_lapsed(connection):
                if not wait:
                    return connection
                await self._means.clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            with anyio.CancelScope(shield=True):
                claimed = await self._claim(caller, connection)
                if claimed is not None:
                    return await self._carry_out(caller, (connection, credential), claimed, way, over=over)

    async def refresh_due(self) -> int:
        """Renew what is due, of all tenants, some at a time. How many were due. What cannot be renewed keeps nobody waiting."""
        means = self._means
        now, last, count = means.clock.now(), None, 0
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def renew(connection: Connection) -> None:
            caller = Caller(tenant_id=connection.tenant_id, actor="interlock")
            async with limiter:
                try:
                    await self.refresh(
                        caller, connection.connection_id, seen=connection.current_credential_id, wait=False
                    )
                except InterlockError as error:
                    _log.warning("connection %s was not renewed: %s", connection.name, error)

        while due := await means.store.read(partial(means.records.list_due, now=now, after=last, limit=_BATCH)):
            async with anyio.create_task_group() as tasks:
                for each in due:
                    tasks.start_soon(renew, each)
            last, count = due[-1], count + len(due)
        return count

    async def keep(self, *, every: float) -> None:
        """Renew what is due for ever, with a pause of that many seconds."""
        while True:
            try:
                await self.refresh_due()
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("connections will be renewed later: %s", error)
            await self._means.clock.sleep(every)

    async def _find(self, caller: Caller, ref: str) -> Standing | None:
        means = self._means
        return await means.store.read(lambda tx: means.changing.look_up(tx, caller, ref))

    async def _profile(self, connection: Connection) -> sdk.AuthProfile:
        means = self._means
        declared = await means.profile(connection.tenant_id, connection.connector_id, connection.profile_id)
        return discovery.settled(declared, connection.params)

    async def _way(self, standing: Standing) -> Way | None:
        connection, credential = standing
        if credential is None or connection.secret_source is not SourceKind.STORED:
            return None
        return renewal.way(await self._profile(connection), credential.fields)

    def _has_lapsed(self, connection: Connection) -> bool:
        """Whether a claim's owner must be gone: it was watched for as long as a claim can last, by our own clock, or ended before
        any clock could still call it valid."""
        clock, refresh = self._means.clock, connection.refresh
        if refresh.until is None or refresh.until + _SKEW < clock.now():
            return True
        fence, since = self._watched.get(connection.connection_id, (-1, 0.0))
        if fence != refresh.fence:
            self._watched[connection.connection_id] = (refresh.fence, clock.monotonic())
            return False
        return clock.monotonic() - since >= CLAIM.total_seconds()

    async def _claim(self, caller: Caller, seen: Connection) -> Connection | None:
        """The connection, claimed; None if others were quicker."""
        owner_id, at = self._means.ids.new("own"), self._means.clock.now()

        def decide(standing: Standing) -> Change | None:
            here = standing[0]
            if here.refresh.owner_id == owner_id:
                return None  # committed before, though the store did not say so
            if (here.refresh, here.current_credential_id) != (seen.refresh, seen.current_credential_id):
                return None
            return Change(renewal.claimed(here, owner_id, at=at), ()) if here.state in USABLE else None

        after = await self._write(caller, seen, decide)
        self._watched.pop(seen.connection_id, None)
        return after if after.refresh.owner_id == owner_id else None

    async def _carry_out(
        self, caller: Caller, standing: Standing, claimed: Connection, way: Way, *, over: bool
    ) -> Connection:
        before, credential = standing
        assert credential is not None
        now, profile = self._means.clock.now(), await self._profile(before)
        doubtful = renewal.is_doubtful(before)
        if doubtful and not renewal.may_repeat(before, credential, profile, way=way, at=now):
            return await self._fail(caller, claimed, Failure(reason=OUTCOME_UNKNOWN, ended=True))
        over = over or (credential.expires_at is not None and credential.expires_at <= now)
        try:
            secrets = await self._safe.open(credential)
            tokens = await self._ask(claimed, profile, way, secrets)
            sealable = fields.sealed(profile, {**claimed.params, **secrets}, tokens)
            if isinstance(profile.grant, sdk.grants.NativeCli):
                await self._check_account(claimed, profile, sealable)
        except InterlockError as error:
            failure = Failure.of(error, over=over)
            if failure.arrived and not renewal.may_repeat(
                claimed, credential, profile, way=way, at=self._means.clock.now()
            ):
                failure = Failure(reason=OUTCOME_UNKNOWN, ended=True)
            if doubtful and failure.reason == "refresh_invalid_grant":
                failure = replace(failure, reason=OUTCOME_UNKNOWN)
            return await self._fail(caller, claimed, failure)
        return await self._succeed(caller, claimed, credential, way, tokens, sealable, over=over)

    async def _check_account(
        self, connection: Connection, profile: sdk.AuthProfile, secrets: Mapping[str, Secret]
    ) -> None:
        """Somebody else may have logged in since. Raises SubjectMismatch, ProbeFailed."""
        probed = await probe(
            profile,
            secrets,
            base_url=connection.base_url or profile.base_url,
            tenant_id=connection.tenant_id,
            errands=self._means.errands,
        )
        if probed.subject != connection.subject:
            raise errors.SubjectMismatch(f"the program says a token of another account than {connection.name!r} is for")

    async def _ask(
        self, connection: Connection, profile: sdk.AuthProfile, way: Way, secrets: Mapping[str, Secret]
    ) -> Tokens:
        means, grant = self._means, profile.grant
        given: dict[str, sdk.fill.Value] = {**connection.params, **secrets}
        client = exchange.client_of(given) or exchange.meant(means.client(connection.connector_id), given)
        values = exchange.known(
            profile,
            given,
            base_url=connection.base_url or profile.base_url,
            client=client,
            at=means.clock.now(),
            nonce=installs.new_token(means.random_bytes).reveal(),
        )

        async def send(errand: Errand) -> Answer:
            return await means.errands.send(errand, tenant_id=connection.tenant_id, subject_id=connection.connection_id)

        if way == "again":
            separator = getattr(grant, "scope_separator", " ")
            scope = {"scope": separator.join(sorted(connection.scopes))} if connection.scopes else {}
            run, at = means.program(connection.connector_id, connection.tenant_id), means.clock.now()
            return await obtaining.obtain(profile, {**values, **scope}, client=client, send=send, run=run, at=at)
        request = sdk.grants.exchanges(grant)["refresh"]
        told = await send(exchange.build(request, values, client=client))
        return answer.read(request.answer, told).after(secrets["refresh_token"])

    async def _succeed(
        self,
        caller: Caller,
        claimed: Connection,
        old: Credential,
        way: Way,
        tokens: Tokens,
        sealable: Mapping[str, Secret],
        *,
        over: bool,
    ) -> Connection:
        means, at = self._means, self._means.clock.now()
        named = replace(claimed, current_credential_id=means.ids.new("crd"))
        credential_id, version = str(named.current_credential_id), old.version + 1
        # Keys are read from the store, too: what the service gave must not be lost for that.
        secrets = await self._insist(claimed, partial(self._safe.open, old))
        rotated = tokens.refresh_token is not None and tokens.refresh_token.reveal() != _text(
            secrets.get("refresh_token")
        )
        seal = partial(self._safe.seal, named, sealable, version=version, expires_at=tokens.expires_at, at=at)
        credential = await self._insist(claimed, partial(seal, grant={"rotated": rotated}))
        # Calls at work keep their leases on what still serves.
        overlap = at if over else at + MAX_LEASE

        def write(tx: Tx) -> None:
            means.records.supersede(tx, claimed.connection_id, at=at, overlap_until=overlap)
            means.records.add_credential(tx, credential)

        def decide(standing: Standing) -> Change | None:
            here = standing[0]
            if not _is_ours(here, claimed):
                return None
            after = renewal.renewed(
                here, credential_id, scopes=tokens.scopes, expires_at=tokens.expires_at, way=way, at=at
            )
            return Change(after, renewal.told(here, after, version=version, actor=caller.actor), also=write)

        after = await self._write(caller, claimed, decide)
        if after.current_credential_id == credential_id:
            return after
        return await self._unwanted.end_overtaken(caller, claimed, credential)

    async def _fail(self, caller: Caller, claimed: Connection, failure: Failure) -> Connection:
        at = self._means.clock.now()

        def decide(standing: Standing) -> Change | None:
            here = standing[0]
            if not _is_ours(here, claimed):
                return None
            return Change(*renewal.failed(here, failure, actor=caller.actor, at=at))

        return await self._write(caller, claimed, decide)

    async def _write(self, caller: Caller, claimed: Connection, decide: _Decide) -> Connection:
        """Record what came of it."""
        means = self._means
        change = means.changing.change
        return await self._insist(claimed, lambda: change(caller, claimed.connection_id, decide, at=means.clock.now()))

    async def _insist(self, claimed: Connection, step: Callable[[], Awaitable[T]]) -> T:
        """Take a step that needs the store. One that fails is asked again for as long as the claim holds."""
        means = self._means
        end = means.clock.monotonic() + CLAIM.total_seconds()
        pause = _FIRST_PAUSE
        while True:
            try:
                return await step()
            except StoreError as error:
                if means.clock.monotonic() + pause >= end:
                    _log.warning("refreshing %s could not be recorded: %s", claimed.name, error)
                    raise
            await means.clock.sleep(pause)
            pause = min(pause * 2, 2.0)


def _is_ours(here: Connection, claimed: Connection) -> bool:
    """Whether nobody has taken the connection, revoked it or given it another credential since it was claimed."""
    return (here.refresh.owner_id, here.refresh.fence) == (claimed.refresh.owner_id, claimed.refresh.fence)


def _text(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
