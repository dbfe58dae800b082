"""What the harness needs from outside, put together by `app`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from interlock import inference, runs
from interlock.agents import sessions
from interlock.agents.judging import Judging
from interlock.agents.registry import Registry
from interlock.kernel import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Every collaborator of a turn. `registry` has the operations that its spec may name."""

    wiring: runs.Wiring
    tasks: runs.Tasks
    reading: runs.Reading
    inference: inference.Inference
    registry: Registry
    judging: Judging
    sessions: sessions.Sessions


DELTA: Final = "delta"
"""A piece of what the model is saying."""

MISSED: Final = "missed"
"""So many pieces of what the model was saying were left out, since nobody listened: the journal has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that a turn tells those who watch it: an entry of its journal, once that is committed, with its number there; or
    (`delta`, `missed`) of what the model is saying, which is none."""

    kind: str
    data: Mapping[str, JSON]
    run_id: str
    seq: int | None = None

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {"kind": self.kind, "data": dict(self.data), "run_id": self.run_id, "seq": self.seq}


Watch: TypeAlias = Callable[[Happening], None]
"""Is told what happens, in order. It returns at once; what it raises is not heard."""
