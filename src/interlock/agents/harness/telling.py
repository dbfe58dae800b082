"""Tells who listens what happens in a turn as it happens, in bounded memory. Who falls behind is told entries of the journal from
the journal, and of what the model was saying meanwhile only how much was left out."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import anyio

from interlock import runs
from interlock.agents.harness import journal, replaying
from interlock.agents.harness.asking import asked_for
from interlock.agents.harness.looking import Looks
from interlock.agents.harness.means import DELTA, MISSED, Happening, Watch
from interlock.agents.harness.standing import Turn
from interlock.kernel import Caller

MOST: Final = 1000
"""What happens while nobody listens, and is kept for them."""

TOLD: Final = (journal.PREFIX, "memory.", "approval.", "step.", "guest.")
"""What the types of events begin with that tell of a turn; the last two of one whose loop is another framework's."""


class Telling:
    """One who listens to one attempt at a turn. It is the attempt's `Watch`."""

    def __init__(self, looks: Looks, caller: Caller, *, most: int = MOST) -> None:
        self._looks = looks
        self._caller = caller
        self._most = most
        self._waiting: deque[Happening] = deque()
        self._news = anyio.Event()
        self._over = False
        self._unsaid = 0
        """Pieces of what the model was saying that were left out since the last one that was told."""
        self._left_out: Happening | None = None
        """The first entry of the journal that was left out; the rest of them is read there, too."""
        self._upto = 0
        """The last entry that was told."""

    def __call__(self, happening: Happening) -> None:
        """Something happens."""
        full = len(self._waiting) >= self._most
        if happening.kind == DELTA:
            if full or self._left_out is not None:
                self._unsaid += 1
            else:
                self._keep(happening)
        elif self._left_out is None:
            if full:
                self._left_out = happening
            else:
                self._keep(happening)
        self._news.set()

    def _keep(self, happening: Happening) -> None:
        if self._unsaid:
            self._waiting.append(Happening(kind=MISSED, data={"deltas": self._unsaid}, run_id=happening.run_id))
            self._unsaid = 0
        self._waiting.append(happening)

    async def told(self, take: Callable[[Watch], Awaitable[Turn]]) -> AsyncGenerator[Happening | Turn]:
        """What happens while the turn is taken, and the turn. Raises what taking it raises; who stops listening stops that."""
        turns: list[Turn] = []
        failures: list[Exception] = []

        async def work() -> None:
            try:
                turns.append(await take(self))
            except Exception as error:  # noqa: BLE001 - raised where it is listened to
                failures.append(error)
            self._over = True
            self._news.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            try:
                async for each in self._happenings():
                    yield each
            except GeneratorExit:  # raised out of the group, it would come in another one
                return
            except Exception as error:  # noqa: BLE001 - for the same reason raised below
                failures[:] = [error]
            finally:
                tasks.cancel_scope.cancel()
        if failures:
            raise failures[0]
        for turn in turns:
            yield turn

    async def _happenings(self) -> AsyncGenerator[Happening]:
        while True:
            while self._waiting:
                each = self._waiting.popleft()
                if each.seq is None or each.seq > self._upto:
                    self._upto = each.seq or self._upto
                    yield each
            if (missed := self._left_out) is not None:
                self._left_out = None  # what happens from now on is kept again, and is not told twice
                async for each in self._read(missed):
                    self._upto = each.seq or self._upto
                    yield each
            elif self._over:
                return
            else:
                self._news = anyio.Event()
                if not self._over:
                    await self._news.wait()

    async def _read(self, first: Happening) -> AsyncGenerator[Happening]:
        assert first.seq is not None
        run = await self._looks.reading.fetch(self._caller, first.run_id)
        judged, seq = bool(asked_for(run).spec.controls.outputs), max(self._upto, first.seq - 1)
        while page := await self._looks.reading.events_after(run, seq):
            for event in page:
                if (told := happening(event, judged=judged)) is not None:
                    yield told
            seq = page[-1].seq


def happening(event: runs.Event, *, judged: bool) -> Happening | None:
    """What an event of a run's chain tells of its turn; None if it is none of the turn's. `judged`: the words of the model are
    told once they have been let pass."""
    if not event.type.startswith(TOLD):
        return None
    entry = replaying.entry_of(event)
    kind, data = journal.unsaid(entry) if judged else entry
    return Happening(kind=kind, data=data, run_id=event.run_id, seq=event.seq)
