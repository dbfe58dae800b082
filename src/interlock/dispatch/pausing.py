"""Pauses: work of a capability, a handler, a connection or a whole tenant waits until somebody resumes it."""

from collections.abc import Sequence
from typing import Final

from interlock.dispatch.docket import Docket
from interlock.dispatch.model import Due, Pause, Scope
from interlock.dispatch.records import Records
from interlock.kernel import Caller, Clock, RequestError, Store, Tx

BATCH: Final = 500
"""How many pieces of work one transaction lets go on."""


class Pausing:
    """Pauses and resumes."""

    def __init__(self, store: Store, records: Records, docket: Docket, clock: Clock) -> None:
        self._store = store
        self._records = records
        self._docket = docket
        self._clock = clock

    async def pause(self, caller: Caller, scope: Scope, subject: str, *, reason: str) -> Pause:
        """From now on nothing of it is begun; what is at work goes on. The same again gives it another reason. Raises
        RequestError, StoreError."""
        pause = Pause(
            tenant_id=caller.tenant_id,
            scope=scope,
            subject=_subject(caller, scope, subject),
            reason=reason,
            actor=caller.actor,
            at=self._clock.now(),
        )
        await self._store.write(lambda tx: self._records.put_pause(tx, pause))
        return pause

    async def resume(self, caller: Caller, scope: Scope, subject: str) -> int:
        """End a pause, and have what waited for it handed out; how much that was. Raises RequestError, StoreError."""
        subject = _subject(caller, scope, subject)
        found = [each for each in await self.list(caller) if (each.scope, each.subject) == (scope, subject)]
        if not found:
            raise RequestError(f"there is no pause of {scope} {subject[:60]!r}; `interlock dispatch stats` lists them")
        await self._store.write(lambda tx: self._records.drop_pause(tx, found[0]))
        return await self.release(found[0].tenant_id, found[0].why)

    async def list(self, caller: Caller) -> Sequence[Pause]:
        """The pauses of this tenant."""
        return await self._store.read(lambda tx: self._records.list_pauses(tx, caller.tenant_id))

    async def release(self, tenant_id: str, why: str) -> int:
        """Have all work that waits for that reason handed out, a batch in each transaction. What another pause is about waits
        again once a worker has it."""
        released = 0

        def batch(tx: Tx) -> int:
            waiting = self._records.list_parked(tx, tenant_id, why, limit=BATCH)
            for due in waiting:  # unless another hand resumes it at this moment
                self._docket.again(tx, due, due_at=max(due.due_at, self._clock.now()), why=None, if_still=True)
            return len(waiting)

        while count := await self._store.write(batch):
            released += count
        return released


def find_pause(pauses: Sequence[Pause], due: Due) -> Pause | None:
    """A pause that stops the work."""
    return next((pause for pause in pauses if pause.stops(due)), None)


def _subject(caller: Caller, scope: Scope, subject: str) -> str:
    if scope is Scope.TENANT and subject not in ("", caller.tenant_id):
        raise RequestError(f"work of another tenant is not {caller.actor}'s to pause")
    subject = caller.tenant_id if scope is Scope.TENANT else subject
    if not 0 < len(subject) <= 180 or not subject.isprintable():
        raise RequestError(f"a {scope} is named by 1 to 180 printable characters, not {subject[:60]!r}")
    return subject
