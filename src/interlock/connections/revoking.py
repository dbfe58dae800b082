"""Ending tokens at the service that gave them (RFC 7009). Here they are ended first, whatever comes of it there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from interlock import sdk
from interlock.connections import answer, discovery, exchange, installs, renewal
from interlock.connections.changing import Change, Changing
from interlock.connections.connections import Connections, Look
from interlock.connections.errands import Errands
from interlock.connections.errors import ErrandFailed, GrantRefused
from interlock.connections.exchange import Client
from interlock.connections.grant import TokenGrant
from interlock.connections.history import Happening, Told
from interlock.connections.model import Connection, Credential, SourceKind
from interlock.connections.ports import Cipher, Profiles, Records, Standing
from interlock.connections.safe import Safe
from interlock.connections.transitions import USABLE
from interlock.kernel import Caller, Clock, InterlockError, Secret, Store, Tx

OTHERS_DEPEND: Final = "others_depend"
"""The service would end what other connections of the account use, too."""

OVERLAP: Final = "overlap"
"""Calls at work go on with it."""

UNANSWERED: Final = "revoke_unanswered"
"""Nobody knows whether the service took the request."""

_PAUSES: Final = (0.5, 2.0, None)
_MOST_OTHERS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Tokens that are to end, with what was given for them. `about` is the connection or the install that they are of."""

    tenant_id: str
    connector_id: str
    about: str
    base_url: str | None
    given: Mapping[str, str]
    secrets: Mapping[str, Secret]


class Revoker:
    """Asks services to end tokens."""

    def __init__(
        self,
        errands: Errands,
        client: Callable[[str], Client | None],
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._errands = errands
        self._client = client
        self._clock = clock
        self._random_bytes = random_bytes

    async def end(self, profile: sdk.AuthProfile, held: Held) -> str | None:
        """Have it end the tokens. None if they are ended, else why nobody knows that they are. Tried three times, which does no
        harm."""
        for pause in _PAUSES:
            try:
                await self._ask(profile, held)
            except GrantRefused as refused:
                if isinstance(profile.grant, sdk.grants.Session) and refused.reason == "invalid_client":
                    return None  # 401: the session has ended by itself
                reason, passing = f"revoke_{refused.reason}", refused.reason == "temporarily_unavailable"
            except ErrandFailed:
                reason, passing = UNANSWERED, True
            except InterlockError as error:
                reason, passing = f"revoke_{error.code}"[:60], False
            else:
                return None
            if pause is None or not passing:
                return reason
            await self._clock.sleep(pause)
        raise AssertionError

    async def end_version(
        self, profile: sdk.AuthProfile, connection: Connection, credential: Credential, *, safe: Safe
    ) -> str | None:
        """As `end`, for a version that was erased meanwhile, or never stored."""
        try:
            secrets = await safe.open(credential)
        except InterlockError as error:
            return f"revoke_{error.code}"[:60]
        held = Held(
            tenant_id=connection.tenant_id,
            connector_id=connection.connector_id,
            about=connection.connection_id,
            base_url=connection.base_url,
            given=connection.params,
            secrets=secrets,
        )
        return await self.end(profile, held)

    async def _ask(self, profile: sdk.AuthProfile, held: Held) -> None:
        asked = sdk.grants.revocation(profile.grant, held.secrets)
        assert asked is not None
        given: dict[str, sdk.fill.Value] = {**held.given, **held.secrets}
        client = exchange.client_of(given) or exchange.meant(self._client(held.connector_id), given)
        values = exchange.known(
            profile,
            given,
            base_url=held.base_url or profile.base_url,
            client=client,
            at=self._clock.now(),
            nonce=installs.new_token(self._random_bytes).reveal(),
        )
        errand = exchange.build(asked, values, client=client)
        answer.check_ended(
            asked.answer, await self._errands.send(errand, tenant_id=held.tenant_id, subject_id=held.about)
        )


async def is_shared(store: Store, records: Records, tenant_id: str, connector_id: str, *, subject: str | None) -> bool:
    """Whether a connection that serves uses the same account, as far as anybody knows."""
    found = await store.read(lambda tx: records.list_candidates(tx, tenant_id, connector_id, limit=_MOST_OTHERS))
    usable = [each for each, _ in found if each.state in USABLE]
    return any(subject is None or each.subject in (None, subject) for each in usable)


class Revoking:
    """Ends what connections have, here and at their service: because they are revoked, or given a token instead."""

    def __init__(
        self,
        store: Store,
        records: Records,
        cipher: Cipher,
        accounts: Connections,
        revoker: Revoker,
        *,
        profile: Profiles,
        clock: Clock,
    ) -> None:
        self._store = store
        self._records = records
        self._safe = Safe(cipher)
        self._accounts = accounts
        self._revoker = revoker
        self._profile = profile
        self._clock = clock

    async def revoke(self, caller: Caller, ref: str, reason: str, *, at_provider: bool = True) -> Connection:
        """End the connection as `Connections.revoke` does, and then its tokens at the service, if its profile says how. The
        events say what came of that. Raises ConnectionNotFound."""
        ended: list[Credential] = []
        was: list[Connection] = []

        def look(tx: Tx, connection: Connection) -> None:
            ended[:] = self._records.list_held(tx, connection.connection_id)
            was[:] = [connection]

        after = await self._accounts.revoke(caller, ref, reason, look=look, at_provider=at_provider)
        if not at_provider or not ended or after.secret_source is not SourceKind.STORED:
            return after
        return await self._end(caller, was[0], after, ended)

    async def connect_token(self, caller: Caller, grant: TokenGrant, *, look: Look | None = None) -> Connection:
        """Connect as `Connections.connect_token` does, and then end at the service what a consent had given the connection
        before: nobody here has it any more. What goes on for an `overlap` lives on there, which is told. Raises as
        that does."""
        ended: list[Credential] = []
        was: list[Connection] = []

        def note(tx: Tx, connection: Connection | None) -> None:
            if look is not None:
                look(tx, connection)
            was[:] = [] if connection is None else [connection]
            ended[:] = [] if connection is None else self._records.list_held(tx, connection.connection_id)

        after = await self._accounts.connect_token(caller, grant, look=note)
        if not ended or was[0].secret_source is not SourceKind.STORED:
            return after
        serves_on = bool(grant.overlap) and was[0].state in USABLE
        return await self._end(caller, was[0], after, ended, serves_on=serves_on)

    async def _end(
        self,
        caller: Caller,
        was: Connection,
        after: Connection,
        ended: Sequence[Credential],
        *,
        serves_on: bool = False,
    ) -> Connection:
        """Have the service end the versions of what the connection was, unless they serve on, and tell what came of it."""
        try:
            declared = await self._profile(was.tenant_id, was.connector_id, was.profile_id)
            profile = discovery.settled(declared, was.params)
        except InterlockError as error:
            return await self._tell(caller, after, ended, f"revoke_{error.code}"[:60])
        if sdk.grants.revocation(profile.grant, ended[-1].fields) is None:
            return after
        if serves_on:
            return await self._tell(caller, after, ended, OVERLAP)
        if sdk.grants.revoked_with(profile.grant) == "account" and await is_shared(
            self._store, self._records, was.tenant_id, was.connector_id, subject=was.subject
        ):
            return await self._tell(caller, after, ended, OTHERS_DEPEND)
        reasons = [await self._revoker.end_version(profile, was, each, safe=self._safe) for each in ended]
        return await self._tell(caller, after, ended, open_question(was, reasons))

    async def _tell(
        self, caller: Caller, connection: Connection, ended: Sequence[Credential], reason: str | None
    ) -> Connection:
        return await tell(self._accounts.changing, caller, connection, ended, reason, at=self._clock.now())


def open_question(was: Connection, reasons: Sequence[str | None]) -> str | None:
    """Why nobody knows that all tokens of a connection are ended, if so: one of the reasons why those that it had may not be, or
    a refresh that was under way and may give others. Whoever carries that one out ends them then."""
    lost = renewal.OUTCOME_UNKNOWN if renewal.is_doubtful(was) else None
    return next(filter(None, [*reasons, lost]), None)


async def tell(
    changing: Changing,
    caller: Caller,
    connection: Connection,
    ended: Sequence[Credential],
    reason: str | None,
    *,
    at: datetime,
) -> Connection:
    """Record that these versions are ended at the service, or why (`reason`) nobody knows that."""
    kind = Happening.PROVIDER_REVOKED if reason is None else Happening.PROVIDER_REVOKE_FAILED
    told = Told(kind=kind, actor=caller.actor, reason=reason, data={"versions": [each.version for each in ended]})

    def decide(standing: Standing) -> Change:
        return Change(replace(standing[0], revision=standing[0].revision + 1, updated_at=at), [told])

    return await changing.change(caller, connection.connection_id, decide, at=at)
