"""What is said in a turn, and what of it is worth to be kept."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from interlock.memory.records import Class, Draft, MemoryClass, Share, Tags
from interlock.memory.value import Name, Text, Value
from interlock.memory.words import terms

Role = Literal["user", "assistant", "tool"]

LONGEST: Final = 100_000
"""Characters of one utterance that are looked at, before a turn or after it."""


class Said(Value):
    """What one took part with in a turn: what a user or the model said, what a tool answered."""

    role: Role
    text: Text
    name: Name | None = None
    """Of the tool, or of who said it."""


class Turn(Value):
    """One turn, from what was asked to the answer. `turn_id` is its own: a turn is learned from once."""

    contract: Literal["interlock.memory-turn/v1"] = "interlock.memory-turn/v1"
    turn_id: Name
    said: Annotated[tuple[Said, ...], Field(strict=False, min_length=1, max_length=1_000)]


class Capture(Value):
    """How what one role says is kept."""

    kind: Name
    memory_class: Class = MemoryClass.EPISODIC
    importance: Share = 0.5
    tags: Tags = ()
    least_words: Annotated[int, Field(ge=1)] = 3
    """What has fewer different words is not worth it."""
    longest: Annotated[int, Field(ge=1, le=LONGEST)] = 4_000
    """Characters; what is behind them is left out."""


Policy: TypeAlias = Callable[[Turn], Iterable[Draft]]
"""What is worth to be kept of a turn. What was recalled is taken out of its texts afterwards, whatever it says."""

CAPTURES: Final[Mapping[Role, Capture]] = {
    "user": Capture(kind="user_said"),
    "assistant": Capture(kind="assistant_said", importance=0.3),
}
"""What is kept unless something else is asked for: the conversation, and nothing of what tools answer."""


def captured(captures: Mapping[Role, Capture] = CAPTURES) -> Policy:
    """The policy that keeps what is said as it is said, by role; of a role without a Capture nothing."""

    def policy(turn: Turn) -> Iterable[Draft]:
        for said in turn.said:
            how = captures.get(said.role)
            text = "" if how is None else whole_words(said.text, how.longest)
            if how is not None and len(terms(text)) >= how.least_words:
                yield Draft(
                    text=text,
                    kind=how.kind,
                    memory_class=how.memory_class,
                    importance=how.importance,
                    tags=how.tags,
                    source=said.role if said.name is None else f"{said.role}:{said.name}"[:200],
                )

    return policy


def whole_words(text: str, longest: int) -> str:
    """The beginning of a text, to the end of a word: half a word would be a new one."""
    return text if len(text) <= longest else text[:longest].rsplit(None, 1)[0]
