"""States of turns, carried out of the store and into other conversations."""

from typing import TYPE_CHECKING

from interlock import agents, runs
from interlock.kernel import Caller, NotFoundError, RequestError

if TYPE_CHECKING:
    from interlock.app.assembly import Parts


class Carrying:
    """Snapshots of turns, and what begins from them."""

    def __init__(self, parts: "Parts", caller: Caller, harness: agents.harness.Harness) -> None:
        self._parts = parts
        self._caller = caller
        self._harness = harness

    async def snapshot(self, run_id: str, event: int | None) -> bytes:
        """As `Agents.snapshot`."""
        state, seq = await self._state(run_id, event)
        wiring = self._parts.wiring
        asked = await self._harness.fetch(self._caller, run_id)
        return agents.snapshots.dump(
            wiring.signing.current,
            state,
            tenant_id=self._caller.tenant_id,
            agent_id=asked.agent_id,
            journal_seq=seq,
            taken_at=wiring.clock.now(),
        )

    async def read(self, data: bytes, trust: bytes | None, *, fingerprint: str | None) -> agents.snapshots.Snapshot:
        """As `Agents.read_snapshot`."""
        own = trust is None
        keys = await self._parts.keyring.public_keys() if own else runs.Trust.parse(trust).keys
        return agents.snapshots.load(data, keys=keys, tenant_id=self._caller.tenant_id, fingerprint=fingerprint)

    async def fork(
        self,
        run_id: str | None,
        *,
        snapshot: bytes | None,
        trust: bytes | None,
        event: int | None,
        title: str | None,
        spec: agents.Spec | None,
        accept: bool,
    ) -> agents.sessions.Session:
        """As `Agents.fork`."""
        if (run_id is None) is (snapshot is None) or (snapshot is not None and event is not None):
            raise RequestError("a conversation begins from a turn, after one of its events or not, or from a snapshot")
        wanted = None if spec is None or accept else spec.fingerprint
        if snapshot is not None:
            found = await self.read(snapshot, trust, fingerprint=wanted)
            state, agent_id, taken_by = found.state, found.agent_id, await self._taken_by(found.state, spec)
        else:
            assert run_id is not None
            state, _ = await self._state(run_id, event)
            taken_by = agents.harness.asked_for(await self._parts.reading.fetch(self._caller, run_id)).spec
            agent_id = taken_by.id
            if wanted not in (None, state.fingerprint):
                raise agents.sessions.AgentChanged(f"{run_id} is a turn by {state.fingerprint}, and not by {wanted}")
        if spec is not None and spec.id != agent_id:
            raise agents.sessions.InvalidSession(f"the turn is one of the agent {agent_id}, not {spec.id}")
        return await self._harness.means.sessions.begin_with(
            self._caller,
            agent_id=agent_id,
            fingerprint=state.fingerprint if spec is None else spec.fingerprint,
            turn_id=state.turn_id,
            said=(*state.conversation, *agents.harness.left(taken_by, state)),
            title=title,
        )

    async def _taken_by(self, state: agents.turns.State, spec: agents.Spec | None) -> agents.Spec | None:
        """The spec that a turn of a snapshot was taken by, if it was given or the turn is one of this store."""
        if spec is None or spec.fingerprint != state.fingerprint:
            try:
                spec = agents.harness.asked_for(await self._parts.reading.fetch(self._caller, state.turn_id)).spec
            except (NotFoundError, agents.UnreadableJournal, agents.TurnNotResumable):
                return None
        return spec if spec.fingerprint == state.fingerprint else None

    async def _state(self, run_id: str, event: int | None) -> tuple[agents.turns.State, int]:
        lines = [each for each in await self._harness.lines(self._caller, run_id) if event is None or each.seq <= event]
        if not lines:
            raise RequestError(f"nothing has happened in {run_id} by then: it has no state")
        run = await self._parts.reading.fetch(self._caller, run_id)
        return (await self._harness.sheet(run, upto=lines[-1].seq)).state, lines[-1].seq
