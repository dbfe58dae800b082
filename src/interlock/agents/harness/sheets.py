"""Where a turn stands: its state, and what is known of what is to be done next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from interlock.agents import turns
from interlock.kernel import JSON

Data: TypeAlias = Mapping[str, JSON]
"""What an entry of a turn's journal tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Where a turn stands, as its journal tells: its state, what is to be done next in order, and of that what was begun and has
    no outcome, was put off, or was asked of a person (by the intent's key). `held`: of what was ever put off, the run that is
    held or was."""

    state: turns.State
    wanted: tuple[turns.AnyIntent, ...] = ()
    intended: frozenset[str] = frozenset()
    put_off: Mapping[str, Data] = field(default_factory=dict[str, Data])
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    held: Mapping[str, str] = field(default_factory=dict[str, str])

    def intending(self, keys: Iterable[str]) -> "Sheet":
        """The sheet once that is about to be done."""
        known = frozenset(keys)
        left = {key: data for key, data in self.put_off.items() if key not in known}
        return replace(self, intended=self.intended | known, put_off=left)

    def putting_off(self, key: str, data: Data) -> "Sheet":
        """The sheet once it is known that this was not done, and why."""
        held = {**self.held, key: str(data["run_id"])}
        return replace(self, intended=self.intended - {key}, put_off={**self.put_off, key: data}, held=held)

    def undone(self, key: str) -> "Sheet":
        """The sheet once it is known that this was not done."""
        return replace(self, intended=self.intended - {key})

    def asking(self, key: str, approval_id: str) -> "Sheet":
        """The sheet once a person is asked."""
        return replace(self, asked={**self.asked, key: approval_id})


def blank(plan: turns.Plan, turn_id: str) -> Sheet:
    """A turn to which nothing has happened."""
    return Sheet(state=turns.State(turn_id=turn_id, fingerprint=plan.fingerprint))


def after(plan: turns.Plan, sheet: Sheet, event: turns.AnyEvent) -> Sheet:
    """The sheet after an event. Raises UnexpectedEvent."""
    state, intents = turns.step(plan, sheet.state, event)
    left = () if state.ended else tuple(each for each in sheet.wanted if not _answers(event, each))
    wanted = (*left, *intents)
    keys = {each.key for each in wanted}
    return Sheet(
        state=state,
        wanted=wanted,
        intended=sheet.intended & keys,
        put_off={key: data for key, data in sheet.put_off.items() if key in keys},
        asked={key: approval_id for key, approval_id in sheet.asked.items() if key in keys},
        held={key: run_id for key, run_id in sheet.held.items() if key in keys},
    )


def _answers(event: turns.AnyEvent, intent: turns.AnyIntent) -> bool:
    match event, intent:
        case (turns.Judged(), turns.Judge()) | (turns.Answered(), turns.Ask()):
            return True
        case (turns.Decided(), turns.Consent()) | (turns.Performed(), turns.Perform()):
            return event.call_id == intent.call_id
        case _:
            return False
