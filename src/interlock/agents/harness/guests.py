"""Turns of agents whose loop is another framework's: runs as any other, with a journal of their steps, and people's yes."""

from dataclasses import dataclass
from typing import Final

from interlock import dispatch, runs
from interlock.agents.errors import TurnNotResumable
from interlock.agents.harness import guest_consents, guest_journal, settling
from interlock.agents.harness.asking import GUEST_CONTRACT, NAME, check_may_ask
from interlock.agents.harness.guest_attempts import GuestAttempt, Loop, Taken
from interlock.agents.harness.guest_standing import sheet_of, turn_of, waiting_of
from interlock.agents.harness.guest_steps import Steps
from interlock.agents.harness.means import Means
from interlock.agents.harness.standing import unclear
from interlock.kernel import JSON, Caller, RequestError, Tx

_GOES_ON: Final = frozenset({runs.State.QUEUED, runs.State.RETRY_SCHEDULED, runs.State.HELD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """An agent of another framework, and what it is asked. `input` is what the same turn has again."""

    name: str
    framework: str
    input: JSON
    key: str
    environment: str = "dev"

    def __post_init__(self) -> None:
        """Raises RequestError for what is no text: what adapters hand on comes from programs."""
        for name in ("name", "framework", "key", "environment"):
            if not isinstance(given := getattr(self, name), str):
                raise RequestError(f"{name} must be a text, not {type(given).__name__}")


class Guests:
    """The guests of one installation."""

    def __init__(self, means: Means, docket: dispatch.Docket, stopping: dispatch.Stopping) -> None:
        self._means = means
        self._docket = docket
        self._stopping = stopping

    async def take(self, caller: Caller, guest: Guest, loop: Loop) -> Taken:
        """Take the turn of that key as far as it goes: begin it, or go on with it. One that has ended, waits for a person, or was
        denied is told as it stands. Raises RequestError, IdempotencyConflict, TurnNotResumable if another process is at it, and
        what ended the attempt and not the turn."""
        check_may_ask(caller, f"{NAME}{guest.name}")
        await self._means.wiring.ownership.begin()
        run = await self._admitted(caller, guest)
        if run.state is runs.State.COMPLETED:
            came = await loop(Steps(self._means, run, await sheet_of(self._means, run), None))
            return Taken(turn=await turn_of(self._means, run), value=came.value)
        if run.state in runs.FINAL or run.state is runs.State.WAITING:
            return await self._told(run)
        if run.state not in _GOES_ON:
            raise TurnNotResumable(
                f"another process is at {run.run_id}: it is {run.state}",
                next_step="If its process is gone, `interlock runs recover` frees it within a minute; then run it again.",
                run_id=run.run_id,
            )
        sheet = await sheet_of(self._means, run)
        if sheet.doubtful:
            run = await self._waits(run)
            return await self._told(run)
        if run.state is runs.State.HELD and await guest_consents.is_waited_for(self._means, run, sheet):
            return await self._told(run)
        with self._means.wiring.ownership.working(run.run_id):
            working = await self._means.tasks.begin(run, caller)
            return await GuestAttempt(self._means, self._stopping, working, sheet).take(loop)

    async def _admitted(self, caller: Caller, guest: Guest) -> runs.Run:
        given: dict[str, JSON] = {"contract": GUEST_CONTRACT, "framework": guest.framework, "input": guest.input}
        task = runs.Task(
            name=f"{NAME}{guest.name}",
            kind=runs.Kind.AGENT_TURN,
            input=given,
            environment=guest.environment,
            idempotency_key=guest.key,
        )
        drawn = self._means.tasks.draw(caller, task)

        def admit(tx: Tx) -> runs.Run:
            [(_, run)] = self._means.tasks.admit_all_in(tx, [drawn])
            return run

        return await self._means.wiring.store.write(admit)

    async def _told(self, run: runs.Run) -> Taken:
        return Taken(turn=await turn_of(self._means, run))

    async def _waits(self, run: runs.Run) -> runs.Run:
        """For a person, who says what became of what the process before was at."""
        error = unclear(run.run_id, waiting_of(await sheet_of(self._means, run)))
        return await self._means.tasks.close(run, runs.State.WAITING, error)

    async def settle(self, caller: Caller, run: runs.Run, said: settling.Said) -> None:
        """Write down what became of a step of which nobody can tell; run again, the turn goes on from there. Raises
        RunNotWaiting, RequestError, RoleMissing, StaleRun."""
        settling.check(self._means, caller, run, said)
        open_ones = (await sheet_of(self._means, run)).doubtful_calls
        key = settling.chosen(run, said, open_ones)
        entry = guest_journal.settled(
            key, by=caller.actor, happened=said.happened, text=said.text, note=said.note[:500]
        )
        await settling.written(
            self._means, self._docket, run, [entry], left=len(open_ones) > 1, prefix=guest_journal.PREFIX
        )
