"""What a turn would ask its model first: put together as a turn does it, without asking any model and without a run."""

from dataclasses import dataclass
from decimal import Decimal

from interlock import inference
from interlock.agents import sessions, turns
from interlock.agents.harness.asking import NAME, check_may_ask, plan_of
from interlock.agents.harness.means import Means
from interlock.agents.harness.recalling import Remembers
from interlock.agents.operations import MEMORY
from interlock.agents.spec import Spec
from interlock.kernel import JSON, Caller, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The first question of a turn. `most` is what an answer may come to at most, by estimate, and `most_usd` the dollars, if
    somebody knows; both None for a model that nobody here knows."""

    request: inference.Request
    recalled: str | None
    earlier: int
    """Messages of the session's turns before this one."""
    most: inference.Usage | None
    most_usd: Decimal | None

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "request": self.request.model_dump(mode="json"),
            "recalled": self.recalled,
            "earlier": self.earlier,
            "most": None if self.most is None else self.most.model_dump(mode="json"),
            "most_usd": None if self.most_usd is None else str(self.most_usd),
        }


async def preview(means: Means, caller: Caller, spec: Spec, text: str, *, session_id: str | None) -> Preview:
    """Controls are not heard, MCP servers not asked, and nothing is summed up; a memory is searched as it is set up. Raises
    RequestError, SessionNotFound, and what the memory raises."""
    check_may_ask(caller, f"{NAME}{spec.id}")
    plan, turn_id = plan_of(spec), means.wiring.ids.new("run")
    told: tuple[inference.Message, ...] = ()
    if session_id is not None:
        place_of = session_id

        def read(tx: Tx) -> tuple[inference.Message, ...]:
            found = means.sessions.fetch_in(tx, caller, place_of)
            place = sessions.Place(session_id=place_of, head=found.head, summed_up=found.summed_up)
            return means.sessions.told(tx, found.tenant_id, place, spec.runtime_defaults.conversation).messages

        told = await means.wiring.store.read(read)
    recalled: str | None = None
    source = means.registry.find_source(MEMORY)
    if spec.memory is not None and isinstance(source, Remembers):
        mem = await source.turns_of(
            spec.memory, tenant_id=caller.tenant_id, agent_id=spec.id, session_id=session_id, turn_id=turn_id
        )
        recalled = None if mem is None else (await mem.before(text)).prompt or None
    began = turns.Began(input=text, conversation=told, recalled=recalled)
    state, _ = turns.step(plan, turns.State(turn_id=turn_id, fingerprint=plan.fingerprint), began)
    request = plan.request(state)
    try:
        most, dollars = means.inference.most(request)
    except inference.UnknownModel:
        most, dollars = None, None
    return Preview(request=request, recalled=recalled, earlier=len(told), most=most, most_usd=dollars)
