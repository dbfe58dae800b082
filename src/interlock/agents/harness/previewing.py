"""What a turn would ask its model first: put together as a turn does it, without asking any model and without a run."""

from dataclasses import dataclass
from decimal import Decimal

from interlock import inference
from interlock.agents import sessions, turns
from interlock.agents.harness.asking import NAME, check_may_ask, check_text, plan_of
from interlock.agents.harness.beginning import told_in
from interlock.agents.harness.journal import Past
from interlock.agents.harness.means import Means
from interlock.agents.harness.recalling import Around, recalled
from interlock.agents.spec import Spec
from interlock.kernel import JSON, Caller, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The first question of a turn. `most` is what an answer may come to at most, by estimate, and `most_usd` the dollars, if
    somebody knows; both None for a model that nobody here knows."""

    request: inference.Request
    recalled: str | None
    memory_failed: str | None
    """Why nobody knows what memory holds; a turn goes on without, or fails if its memory is `required`."""
    earlier: int
    """Messages of the session's turns before this one."""
    most: inference.Usage | None
    most_usd: Decimal | None

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "request": self.request.model_dump(mode="json"),
            "recalled": self.recalled,
            "memory_failed": self.memory_failed,
            "earlier": self.earlier,
            "most": None if self.most is None else self.most.model_dump(mode="json"),
            "most_usd": None if self.most_usd is None else str(self.most_usd),
        }


async def preview(means: Means, caller: Caller, spec: Spec, text: str, *, session_id: str | None) -> Preview:
    """Controls are not heard, MCP servers not asked, and nothing is summed up; a memory is searched as it is set up. A session
    may be one that an earlier spec of the agent was asked in. Raises RequestError, SessionNotFound, InvalidSession,
    and ModelRefused for parameters that no model takes."""
    check_may_ask(caller, f"{NAME}{spec.id}")
    check_text(text)
    plan, turn_id = plan_of(spec), means.wiring.ids.new("run")
    past = Past()
    if session_id is not None:
        past = await means.wiring.store.read(lambda tx: _past_in(means, tx, caller, spec, session_id))
    turn = Around(spec=spec, tenant_id=caller.tenant_id, session_id=session_id, turn_id=turn_id)
    told = await recalled(means, turn, text)
    began = turns.Began(input=text, conversation=past.conversation, recalled=told.text)
    state, _ = turns.step(plan, turns.State(turn_id=turn_id, fingerprint=plan.fingerprint), began)
    request = plan.request(state)
    try:
        most, dollars = means.inference.most(request)
    except inference.UnknownModel:
        most, dollars = None, None
    return Preview(
        request=request,
        recalled=told.text,
        memory_failed=told.wrong,
        earlier=len(past.conversation),
        most=most,
        most_usd=dollars,
    )


def _past_in(means: Means, tx: Tx, caller: Caller, spec: Spec, session_id: str) -> Past:
    session = means.sessions.fetch_in(tx, caller, session_id)
    sessions.check_agent(session, spec)
    return told_in(means, tx, session, spec.runtime_defaults.conversation)
