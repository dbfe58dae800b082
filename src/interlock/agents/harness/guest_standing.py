"""How a guest's turn stands: its journal, read from its run's chain, and what that tells whoever asked for the turn."""

from interlock import runs
from interlock.agents import turns
from interlock.agents.harness import guest_journal
from interlock.agents.harness.asking import NAME
from interlock.agents.harness.guest_journal import GuestSheet
from interlock.agents.harness.guest_steps import content_of
from interlock.agents.harness.looking import events_of
from interlock.agents.harness.means import Means
from interlock.agents.harness.standing import Turn, Waiting, waits
from interlock.kernel import read_json


async def lines_of(means: Means, run: runs.Run) -> list[guest_journal.Line]:
    """Its journal."""
    return guest_journal.lines(await events_of(means, run))


async def sheet_of(means: Means, run: runs.Run) -> GuestSheet:
    """Where it stands. Raises UnreadableJournal."""
    return guest_journal.read(run.run_id, await lines_of(means, run))


async def turn_of(means: Means, run: runs.Run) -> Turn:
    """How it stands, for whoever asked for it. Raises UnreadableJournal."""
    sheet = await sheet_of(means, run)
    answer = sheet.answer
    if answer is not None and not isinstance(answer, str):
        answer = str(read_json((await content_of(means, run, answer)).encode()))
    return Turn(
        run_id=run.run_id,
        agent_id=run.capability.removeprefix(NAME),
        session_id=None,
        state=run.state,
        phase=_phase(run, sheet),
        answer=answer,
        waiting=waits(run, waiting_of(sheet)),
        rounds=sheet.models,
        operations=sheet.tools,
        error=run.error,
        is_guest=True,
    )


def _phase(run: runs.Run, sheet: GuestSheet) -> turns.Phase:
    if run.state is runs.State.COMPLETED:
        return turns.Phase.FINISHED
    if run.state in runs.FINAL:
        return turns.Phase.FAILED
    if sheet.asked or run.state is runs.State.WAITING:
        return turns.Phase.PERSON
    return turns.Phase.MODEL if sheet.begun or sheet.done else turns.Phase.NEW


def waiting_of(sheet: GuestSheet) -> tuple[Waiting, ...]:
    """What a person has to say something of."""
    asked = [
        Waiting(
            call_id=str(each["call_id"]),
            operation=str(each["name"]),
            arguments=each["arguments"],  # pyright: ignore[reportArgumentType]
            reason=str(each["reason"]),
            approval_id=str(each["approval_id"]),
        )
        for each in sheet.asked.values()
    ]
    doubts = [
        Waiting(
            call_id=call_id,
            operation=str(sheet.begun[key]["name"]),
            arguments={},
            reason="nobody can tell whether it was done",
            unclear=True,
        )
        for call_id, key in sheet.doubtful_calls.items()
    ]
    return (*asked, *doubts)
