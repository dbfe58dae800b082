"""What a guest's loop does in one attempt: each step as its journal and its class allow."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

import anyio

from interlock import dispatch, runs
from interlock.agents.errors import OperationUnclear, UnreadableJournal
from interlock.agents.harness import guest_journal
from interlock.agents.harness.guest_journal import Consent, GuestSheet, Said, Step
from interlock.agents.harness.means import Means
from interlock.agents.harness.performing import OURS
from interlock.agents.harness.sheets import Data
from interlock.agents.operations import Idempotency
from interlock.agents.sources import Found, Happened, NotHappened
from interlock.kernel import JSON, InterlockError, RequestError, Retry, StoreError, UnknownOutcome, is_interruption

_AGAIN: Final = frozenset({Idempotency.PURE, Idempotency.IDEMPOTENT})

MAX_RESULT: Final = 4_000_000
"""Characters of what may come of a step."""


class Do(Protocol):
    """Does a step, and says what came of it as text that can be read back; it is told whether it may have been done before."""

    async def __call__(self, *, again: bool) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a step is looked into that may have been done. `reconcile` finds out; `told` puts what is known into a result; `failed`
    makes what is raised of the name of what was raised."""

    told: Callable[[JSON], str]
    failed: Callable[[str], Exception]
    reconcile: Callable[[], Awaitable[Found]] | None = None


class Steps:
    """The steps of one attempt, or (`working` None) of a turn that has ended: then nothing is done, and all is told again."""

    def __init__(self, means: Means, run: runs.Run, sheet: GuestSheet, working: runs.Working | None) -> None:
        self.sheet = sheet
        self.run = run
        self.doubt: OperationUnclear | None = None
        self._means = means
        self._working = working
        self._writing = anyio.Lock()
        self._counts: dict[str, int] = {}
        self._failed: list[str] = []
        """Steps of this attempt that failed: if the loop goes on, it went past them."""

    def numbered(self, what: str) -> str:
        """A key for what has none of its own: how often the loop has come by here, in this attempt."""
        self._counts[what] = number = self._counts.get(what, 0) + 1
        return f"{what}#{number}"

    def said(self, consent: Consent) -> Said | None:
        """What a person said to it; None: nobody has, yet. What was denied once is not asked for again."""
        found = self.sheet.decided.get(consent.key)
        if found is None and guest_journal.wish(consent.name, consent.arguments) in self.sheet.denied:
            return Said(approved=False, reason="it was denied before; do not ask for it again")
        return found

    async def take(self, step: Step, do: Do, asking: Asking) -> str:
        """What came of a step: of one on record what is there, else it is done. Raises what doing it raises; OperationUnclear for
        one of which nobody can tell; OwnershipLapsed, StaleRun, StoreError; UnreadableJournal if it is not on record of a turn
        that has ended."""
        if (known := self.sheet.done.get(step.key)) is not None:
            return known if isinstance(known, str) else await content_of(self._means, self.run, known)
        if step.key in (self.sheet.failed if self._working is None else self.sheet.passed):
            raise asking.failed(self.sheet.failed[step.key])
        if self._working is None:
            raise UnreadableJournal(
                f"{self.run.run_id} has ended, and {step.name} is not on its record: the program is another by now",
                next_step="Run what has ended with the program that began it, or anew, under another key.",
                run_id=self.run.run_id,
            )
        if self.doubt is not None:
            raise self.doubt
        again = step.key in self.sheet.begun
        if (text := self.sheet.settled.get(step.key)) is not None:
            return await self._found(step, asking.told(text))
        if again and (text := await self._looked_into(step, asking)) is not None:
            return await self._found(step, text)
        return await self._done(step, do, again=again)

    async def _looked_into(self, step: Step, asking: Asking) -> str | None:
        """What came of a step that was begun before; None: it is to be done."""
        if step.idempotency is Idempotency.UNSAFE_ONCE:
            raise await self._unclear(step, "the process that did it went away before it could tell")
        if step.idempotency is not Idempotency.RECONCILE:
            return None
        if asking.reconcile is None:
            raise await self._unclear(step, "there is no function that could tell")
        try:
            found = await asking.reconcile()
        except OURS:
            raise
        except Exception as error:
            if is_interruption(error):
                raise
            raise await self._unclear(step, f"finding out raised {type(error).__name__}") from error
        if isinstance(found, Happened):
            return asking.told(found.output)
        if isinstance(found, NotHappened):
            return None
        raise await self._unclear(step, found.reason)

    async def _found(self, step: Step, text: str) -> str:
        """It was done before, and this came of it."""
        settled = step.key not in self.sheet.begun  # by a person, whose word is used up in the commit that keeps it
        before = [self._intended(step, again=True)] if settled else []
        await self._save(step, text, took_s=0.0, before=before)
        return text

    def _intended(self, step: Step, *, again: bool) -> runs.Entry:
        passed = [each for each in self._failed if each not in self.sheet.passed]
        return guest_journal.intended(step, again=again, passed=passed)

    async def _done(self, step: Step, do: Do, *, again: bool) -> str:
        self._check_hold()
        await self._write([self._intended(step, again=again)])
        self._check_hold()
        clock = self._means.wiring.clock
        began = clock.monotonic()
        try:
            text = await do(again=again)
        except OURS:
            raise
        except UnknownOutcome as error:
            if step.idempotency in _AGAIN:
                await self._fell(step, error)
                raise
            raise await self._unclear(step, error.message) from error
        except Exception as error:
            if not is_interruption(error):
                await self._fell(step, error)
            raise
        await self._save(step, text, took_s=round(max(0.0, clock.monotonic() - began), 6))
        return text

    async def _fell(self, step: Step, error: Exception) -> None:
        """It raised. What may have been done for all that is not done again, whatever the loop makes of it."""
        later = isinstance(error, InterlockError) and error.retry is Retry.LATER
        final = step.idempotency not in _AGAIN and not later
        await self._write([guest_journal.failed(step, error, final=final)])
        self._failed.append(step.key)

    async def _unclear(self, step: Step, reason: str) -> OperationUnclear:
        """Nobody can tell, and nothing more is done in this attempt."""
        await self._write([guest_journal.unclear(step, reason)])
        call: JSON = {"call_id": step.call_id, "operation": step.name, "reason": reason, "unclear": True}
        self.doubt = OperationUnclear(
            f"nobody can tell whether it was done: {step.name} ({step.call_id}): {reason}",
            details={"operations": [call], "effect": "unknown"},
            run_id=self.run.run_id,
        )
        return self.doubt

    def _check_hold(self) -> None:
        assert self._working is not None
        attempt = self._working.attempt
        if self._means.wiring.ownership.may_send(attempt.owner_id) <= 0:
            raise runs.OwnershipLapsed(f"this process lost its hold on {attempt.run_id}", run_id=attempt.run_id)

    # -- written

    async def _save(self, step: Step, text: str, *, took_s: float, before: Sequence[runs.Entry] = ()) -> None:
        if len(text) > MAX_RESULT:
            raise RequestError(f"what came of {step.name} has {len(text)} characters; at most {MAX_RESULT} are kept")
        assert self._working is not None
        kept = None
        if guest_journal.is_long(text):
            kept = await self._means.tasks.keep(self._working, "step.done", text.encode())
        await self._write([*before, guest_journal.done(step, text, took_s=took_s, kept=kept)], kept)

    async def _write(self, told: Sequence[runs.Entry], kept: runs.Artifact | None = None) -> None:
        """Commit it, all at once, and once, however often the answer is lost. Raises StaleRun, StoreError."""
        working, failed = self._working, False
        assert working is not None

        async def write() -> None:
            nonlocal failed
            if failed and await self._is_there(working, told):
                return
            try:
                await self._means.tasks.note(working, told, kept=() if kept is None else (kept,))
            except StoreError:
                failed = True
                raise

        async with self._writing:
            await dispatch.until_saved(self._means.wiring, write)
            for entry in told:
                guest_journal.follow(self.sheet, *entry)

    async def _is_there(self, working: runs.Working, told: Sequence[runs.Entry]) -> bool:
        """Whether the try before has written it after all."""
        run, wiring = working.journal.run, self._means.wiring
        now = await wiring.store.read(lambda tx: wiring.ledger.find_run(tx, run.tenant_id, run.run_id))
        if now is None or now.fence != run.fence:
            return False
        notes = await self._means.reading.events_after(run, run.head_seq)
        if not any(each.type == told[0][0] for each in notes):
            return False
        working.journal.run = now
        return True


async def content_of(means: Means, run: runs.Run, told: Data) -> str:
    """What an entry keeps in an artifact. Raises UnreadableJournal."""
    artifact_id = str(cast("Data", told["kept"])["artifact_id"])
    found = await means.wiring.store.read(lambda tx: means.wiring.ledger.find_artifact(tx, run.tenant_id, artifact_id))
    try:
        if found is None:
            raise ValueError(f"there is no artifact {artifact_id}")
        return guest_journal.content(told, await means.reading.content(found))
    except ValueError as error:
        raise UnreadableJournal(f"{run.run_id}: {error}", run_id=run.run_id) from error


def failure_of(error: BaseException) -> InterlockError | None:
    """The error of ours that an attempt ended with, also where the loop has put it into a group."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            if (found := failure_of(each)) is not None:
                return found
    return error if isinstance(error, InterlockError) else None
