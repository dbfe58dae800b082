"""Turns as their journals tell them: read from the chain, and gone through again."""

from typing import Protocol

from interlock import runs
from interlock.agents import sessions
from interlock.agents.harness import replaying
from interlock.agents.harness.asking import asked_for, plan_of
from interlock.agents.harness.journal import Line, Past
from interlock.agents.harness.sheets import Sheet


class Looks(Protocol):
    """What it takes to look at turns: `Means` has it."""

    @property
    def wiring(self) -> runs.Wiring:
        """The ledger and what goes with it."""
        ...

    @property
    def reading(self) -> runs.Reading:
        """Reads it."""
        ...

    @property
    def sessions(self) -> sessions.Sessions:
        """The conversations that turns are in."""
        ...


async def lines_of(looks: Looks, run: runs.Run) -> list[Line]:
    """The journal of a turn. Raises UnreadableJournal."""
    return replaying.read(run.run_id, await events_of(looks, run))


async def events_of(looks: Looks, run: runs.Run) -> list[runs.Event]:
    """All events of a turn's run."""
    events: list[runs.Event] = []
    while page := await looks.reading.events_after(run, events[-1].seq if events else 0):
        events += page
    return events


async def replayed(looks: Looks, run: runs.Run, *, upto: int | None = None, goes_on: bool = False) -> Sheet:
    """Where the turn of a run stands, or stood after the event `upto`, from its journal alone; without the conversation before it
    if its session was deleted. Raises UnreadableJournal, and SessionNotFound for a turn that `goes_on` and has lost it."""
    asked = asked_for(run)
    lines = [each for each in await lines_of(looks, run) if upto is None or each.seq <= upto]
    plan = plan_of(asked.spec)
    contents = await _contents(looks, run, frozenset(filter(None, (each.kept_in for each in lines))))
    past = Past()
    if lines and (place := lines[0].place) is not None:
        conversation = asked.spec.runtime_defaults.conversation
        try:
            told = await looks.wiring.store.read(lambda tx: looks.sessions.told(tx, run.tenant_id, place, conversation))
            past = Past(place=place, conversation=told.messages)
        except sessions.SessionNotFound:
            if goes_on:
                raise
            past = Past(place=place, gone=True)
    return replaying.replay(plan, run.run_id, lines, text=asked.text, past=past, contents=contents)


async def _contents(looks: Looks, run: runs.Run, artifact_ids: frozenset[str]) -> dict[str, bytes]:
    """What is kept beside the chain, by the artifacts that hold it: of as many as there are, with one query."""
    if not artifact_ids:
        return {}
    found = await looks.wiring.store.read(lambda tx: looks.wiring.ledger.list_artifacts(tx, run.tenant_id, run.run_id))
    return {each.artifact_id: await looks.reading.content(each) for each in found if each.artifact_id in artifact_ids}
