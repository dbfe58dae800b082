"""What a turn's run was asked for with: all that any process needs to take the turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, cast

import orjson

from interlock import catalog, kernel, runs
from interlock.agents import turns
from interlock.agents.errors import InvalidContext, TurnNotResumable, UnreadableJournal
from interlock.agents.spec import Spec
from interlock.agents.terms import thawed
from interlock.kernel import JSON, Caller, JsonLimits, RequestError

CONTRACT: Final = "interlock.turn-input/v1"
GUEST_CONTRACT: Final = "interlock.guest-turn/v1"
"""What a turn is asked for with whose loop is another framework's."""

NAME: Final = "agent."
"""What the names of turns' runs begin with."""

MAX_TEXT: Final = 1_000_000
"""Characters of what may be said to an agent at once."""

CONTEXT: Final = JsonLimits(max_bytes=262_144, max_depth=32, max_nodes=20_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A turn as it is asked for: `text` is said to the agent; `context` is what operations and controls are given, and no model
    sees. Raises RequestError, InvalidContext."""

    spec: Spec
    text: str
    session_id: str | None = None
    context: Mapping[str, JSON] = field(default_factory=dict[str, JSON])

    def __post_init__(self) -> None:
        check_text(self.text)
        kernel.check_json(dict(self.context), limits=CONTEXT, what="context")
        if self.spec.context_schema is not None:
            problems = catalog.compile_schema(thawed(self.spec.context_schema))(dict(self.context))
            if problems:
                raise InvalidContext(
                    f"the context does not fit the agent {self.spec.id}: {'; '.join(map(str, problems))}"
                )

    def seen(self) -> Any:
        """The context as operations see it: as the pydantic model of the spec's schema, if this program has one. Raises
        InvalidContext for what the schema lets pass and the model does not."""
        try:
            return plan_of(self.spec).read_context(dict(self.context))
        except ValueError as error:
            raise InvalidContext(f"the context does not fit the agent {self.spec.id}: {error}") from error

    @property
    def name(self) -> str:
        """The name of its run."""
        return f"{NAME}{self.spec.id}"

    def to_json(self, caller: Caller) -> dict[str, JSON]:
        """As it is kept. What the caller is limited to goes with it, for whoever takes the turn."""
        return {
            "contract": CONTRACT,
            "spec": self.spec.to_json(),
            "text": self.text,
            "session_id": self.session_id,
            "context": dict(self.context),
            "capabilities": _listed(caller.capabilities),
            "connections": _listed(caller.connections),
        }


def _listed(names: frozenset[str] | None) -> JSON:
    return None if names is None else sorted(names)


def asked_for(run: runs.Run) -> Asked:
    """What the run was asked for with. Raises UnreadableJournal if it is no turn's, and TurnNotResumable if it is a guest's."""
    given = runs.input_of(run)
    if is_guest(run):
        raise TurnNotResumable(
            f"{run.run_id} is a turn of another framework's agent, whose own program takes it",
            next_step="Have that program run it again under its key; `interlock agent inspect RUN` shows how it stands.",
            run_id=run.run_id,
        )
    if run.kind is not runs.Kind.AGENT_TURN:
        raise UnreadableJournal(
            f"{run.run_id} ({run.capability}) is no turn of an agent",
            next_step=f"Name a turn's run (`interlock agent list`); `interlock runs show {run.run_id}` shows this one.",
            run_id=run.run_id,
        )
    if given.get("contract") != CONTRACT:
        raise UnreadableJournal(f"{run.run_id} has an input that is none of a turn's", run_id=run.run_id)
    return Asked(
        spec=_spec(orjson.dumps(given["spec"])),  # of canonical JSON: the same text each time
        text=str(given["text"]),
        session_id=cast("str | None", given["session_id"]),
        context=cast("Mapping[str, JSON]", given["context"]),
    )


def check_text(text: str) -> None:
    """Raises RequestError for what cannot be said to an agent."""
    if not text.strip() or len(text) > MAX_TEXT:
        raise RequestError(f"what is said to an agent has 1 to {MAX_TEXT} characters, not {len(text)}")


def check_may_ask(caller: Caller, name: str) -> None:
    """Raises RequestError for who is limited to other things than turns of that name."""
    if not caller.sees(name, None):
        raise RequestError(f"{caller.actor} may not ask for {name}", next_step="Use a token that allows it.")


def is_guest(run: runs.Run) -> bool:
    """Whether the run is a turn whose loop is another framework's."""
    return run.kind is runs.Kind.AGENT_TURN and runs.input_of(run).get("contract") == GUEST_CONTRACT


def limited(run: runs.Run, caller: Caller) -> Caller:
    """Who asked, with no more than they might do then."""
    given = runs.input_of(run)
    return replace(caller, capabilities=_names(given["capabilities"]), connections=_names(given["connections"]))


def _names(listed: Any) -> frozenset[str] | None:
    return None if listed is None else frozenset(listed)


@lru_cache(maxsize=64)
def _spec(text: bytes) -> Spec:
    return Spec.model_validate_json(text)


def plan_of(spec: Spec) -> turns.Plan:
    """The plan of a spec: its schemas are compiled once."""
    return _plan(_Named(spec.fingerprint, spec))


@dataclass(frozen=True, slots=True)
class _Named:
    """A spec by its fingerprint: two that have the same are not compared part by part."""

    fingerprint: str
    spec: Spec = field(compare=False)


@lru_cache(maxsize=64)
def _plan(named: _Named) -> turns.Plan:
    return turns.Plan(named.spec)
