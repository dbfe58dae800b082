"""Agents' turns as one caller sees them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from pydantic import BaseModel

from interlock.app.arguments import checked
from interlock.kernel import JSON, Caller, RequestError

if TYPE_CHECKING:  # and late in the functions: whoever asks no agent needs none of them
    from interlock import agents, dispatch
    from interlock.app.assembly import Parts
    from interlock.app.carrying import Carrying
    from interlock.app.installed_agents import InstalledAgents
    from interlock.app.turning import Holder


class TurnOptions(TypedDict, total=False):
    """How a turn is asked for, beside what is said; each may be left out."""

    session: str | None
    """The conversation to go on with; None: the turn is by itself."""
    context: Mapping[str, JSON] | BaseModel | None
    """For operations and controls, as JSON or a pydantic model; no language model sees it."""
    environment: str | None
    """Recorded, and judged by policy; None: that of the settings."""
    idempotency_key: str | None
    """The same key takes one turn."""
    trace_id: str | None
    parent_run_id: str | None
    """The run that asks for the turn."""
    accept: bool
    """The session may go on though the agent has changed."""


class Agents:
    """`il.agents`: turns of agents, each a run."""

    def __init__(self, parts: "Parts", caller: Caller, turning: "Holder") -> None:
        self._parts = parts
        self._caller = caller
        self._turning = turning

    @property
    def _harness(self) -> "agents.harness.Harness":
        return self._turning.harness

    def offer(self, *operations: Callable[..., Any], controls: Iterable[Callable[..., Any]] = ()) -> None:
        """Functions that specs may name, beside those of the modules of `[app] modules`: marked by `agents.operation`, and as
        `controls` by `agents.control`. They are this open Interlock's alone. Raises InvalidSpec if a name has two."""
        self._turning.offer(operations, controls)

    @property
    def registry(self) -> "agents.Registry":
        """What specs may name here, for reading them. Raises ModuleNotLoaded, InvalidSpec."""
        return self._harness.means.registry

    @property
    def installed(self) -> "InstalledAgents":
        """The agents that the settings name in `[app.agents]`."""
        return self._turning.installed

    @property
    def stopping(self) -> "dispatch.Stopping":
        """What hears of turns of this process that somebody cancels: asked once a second, by itself."""
        return self._harness.stopping

    @checked
    async def run(self, spec: "agents.Spec", text: str, **options: Unpack[TurnOptions]) -> "agents.harness.Turn":
        """Say something to an agent, and take its turn here and now; the options are those of `TurnOptions`. A turn that waits
        for a yes is held, and comes back as it stands, as do one that policy denies or sheds and the one that holds the
        idempotency key.

        Raises RequestError, InvalidSpec for functions that this program does not have, and with `run_id`: TurnFailed,
        OperationUnclear, RunCancelled, and what ended the attempt and not the turn, which `resume` goes on with.
        """
        asked, how = self._asked(spec, text, options)
        self._check_here(spec)
        return (await self._harness.run(self._caller, asked, how)).check()

    @checked
    async def submit(
        self,
        spec: "agents.Spec",
        text: str,
        *,
        retry: "dispatch.RetryPolicy | None" = None,
        **options: Unpack[TurnOptions],
    ) -> "agents.harness.Turn":
        """As `run`, by a worker. It returns once that is committed; `il.dispatch.wait` waits for its end, and `fetch` tells how
        it stands."""
        asked, how = self._asked(spec, text, options)
        return await self._harness.submit(self._caller, asked, how, retry=retry)

    async def stream(
        self, spec: "agents.Spec", text: str, **options: Unpack[TurnOptions]
    ) -> "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]":
        """As `run`, telling what happens as it happens: entries of the turn's journal once they are committed, and (`delta`) what
        the model is saying. The last is the turn as it then stands. Who falls behind is told no entry less, for those are in the
        journal; of what the model was saying they hear how many pieces they `missed`. Whoever stops listening stops the attempt;
        `resume` goes on.

            async with aclosing(il.agents.stream(spec, "…")) as told:
                async for each in told: …
        """
        asked, how = self._asked(spec, text, options)
        self._check_here(spec)
        harness, caller = self._harness, self._caller
        async with aclosing(self._told(lambda watch: harness.run(caller, asked, how, watch=watch))) as told:
            async for each in told:
                yield each

    @checked
    async def resume(self, run_id: str) -> "agents.harness.Turn":
        """Go on with a turn here and now: one that was held and is decided on, one that was settled, one whose process is gone.
        Raises RunNotFound, TurnNotResumable, and as `run`."""
        return (await self._harness.resume(self._caller, run_id)).check()

    async def resume_stream(self, run_id: str) -> "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]":
        """As `resume`, telling what happens as `stream` does."""
        harness, caller = self._harness, self._caller
        async with aclosing(self._told(lambda watch: harness.resume(caller, run_id, watch=watch))) as told:
            async for each in told:
                yield each

    @checked
    async def take_guest(
        self, guest: "agents.harness.Guest", loop: "Callable[[agents.harness.Steps], Awaitable[agents.harness.Came]]"
    ) -> "agents.harness.Taken":
        """Take the turn of another framework's agent that has this key as far as it goes: `loop` is run from its beginning, and
        what it did before is told to it again. For adapters, as `bridges.durability` is one. Raises RequestError,
        IdempotencyConflict, TurnNotResumable, and what ended the attempt and not the turn."""
        _check_guest(guest)
        return await self._harness.take_guest(self._caller, guest, loop)

    @checked
    async def preview(self, spec: "agents.Spec", text: str, *, session: str | None = None) -> "agents.harness.Preview":
        """What a turn would ask its model first, and what that may cost at most: nothing is asked and no run begins. Raises
        RequestError, SessionNotFound, InvalidSession for one with another agent, and ModelRefused."""
        from interlock import agents

        _check_spec(spec)
        return await agents.harness.preview(self._harness.means, self._caller, spec, text, session_id=session)

    @checked
    async def settle(
        self, run_id: str, call_id: str, *, happened: bool, text: str = "", note: str = ""
    ) -> "agents.harness.Turn":
        """Say what became of an operation of which nobody can tell: it happened, and `text` came of it; or it did not, and is
        done once the turn goes on. Raises RunNotFound, RunNotWaiting, RoleMissing, RequestError."""
        return await self._harness.settle(self._caller, run_id, call_id, happened=happened, text=text, note=note)

    @checked
    async def fetch(self, run_id: str) -> "agents.harness.Turn":
        """How a turn stands. Raises RunNotFound, UnreadableJournal."""
        return await self._harness.fetch(self._caller, run_id)

    @checked
    async def inspect(self, run_id: str) -> "tuple[agents.harness.Turn, agents.turns.State | None]":
        """How a turn stands, and the state that its journal leads to; None of a turn whose loop is another framework's. Raises
        RunNotFound, UnreadableJournal."""
        turn = await self._harness.fetch(self._caller, run_id)
        return turn, None if turn.is_guest else (await self.replay(run_id)).state

    @checked
    async def list(
        self, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> "Sequence[agents.harness.Glance]":
        """Turns of this tenant at a glance, newest first; go on with `cursor` = the last one's run id."""
        return await self._harness.list_turns(self._caller, agent_id=agent_id, cursor=cursor, limit=limit)

    @checked
    async def lines(self, run_id: str) -> "Sequence[agents.harness.Line]":
        """The journal of a turn: what happened, and what was about to. Raises RunNotFound, UnreadableJournal."""
        return await self._harness.lines(self._caller, run_id)

    @checked
    async def replay(self, run_id: str, *, event: int | None = None) -> "agents.harness.Sheet":
        """Where a turn stands, or stood after that event of its journal, found again from the journal alone: nothing is done, and
        no model is asked. Raises RunNotFound, and UnreadableJournal if the journal does not lead to the state that the turn is
        said to have ended in."""
        return await self._harness.sheet(await self._parts.reading.fetch(self._caller, run_id), upto=event)

    @checked
    async def snapshot(self, run_id: str, *, event: int | None = None) -> bytes:
        """The state of a turn, or the one after that event of its journal, as a signed file for others to read and check. Raises
        RunNotFound, UnreadableJournal, RequestError for an event before the turn began."""
        return await self._carrying.snapshot(run_id, event)

    @checked
    async def read_snapshot(
        self, data: bytes, *, trust: bytes | None = None, spec: "agents.Spec | None" = None
    ) -> "agents.snapshots.Snapshot":
        """What a snapshot says, once its signature holds, by this installation's keys or by those of a trust file. With a `spec`,
        it has to be of a turn by that one. Raises InvalidSnapshot, SnapshotTooNew, ForeignSnapshot, SnapshotTampered,
        SnapshotOfAnother, InvalidTrust."""
        return await self._carrying.read(data, trust, fingerprint=None if spec is None else spec.fingerprint)

    @checked
    async def fork(
        self,
        run_id: str | None = None,
        *,
        snapshot: bytes | None = None,
        trust: bytes | None = None,
        event: int | None = None,
        title: str | None = None,
        spec: "agents.Spec | None" = None,
        accept: bool = False,
    ) -> "agents.sessions.Session":
        """A conversation that begins with all that was said until a turn stood so: a turn of this store (as it stands, or stood
        after that event), or one of a snapshot. Nothing that was done is done again; what was asked for and has no outcome is
        told as that. With a `spec`, the turn has to be by that one; `accept` lets the conversation go on with it though the
        agent has changed. Raises RequestError, AgentChanged, InvalidSession, and as `replay` and `read_snapshot`."""
        return await self._carrying.fork(
            run_id, snapshot=snapshot, trust=trust, event=event, title=title, spec=spec, accept=accept
        )

    @property
    def _carrying(self) -> "Carrying":
        from interlock.app.carrying import Carrying

        return Carrying(self._parts, self._caller, self._harness)

    @checked
    async def mcp_tools(self, server: str) -> "Sequence[agents.Tool]":
        """What an MCP server of the settings offers now, to be written down and read. Raises OperationFailed, RequestError, and
        what a lease on its connection raises."""
        from interlock.app.tooling import Toolboxes

        parts = self._parts
        boxes = Toolboxes(parts.settings, (parts.evidence,), parts.leases)
        async with boxes.open(server, caller=self._caller, run_id="run_tools", seconds=60) as session:
            return await session.list_tools()

    @checked
    async def evaluate(self, spec: "agents.Spec", suite: "agents.evals.Suite") -> "agents.evals.Report":
        """Take the cases of a suite, one after the other, each a turn as any other, and say of each what of that which is
        expected held. A case that waits for a person is cancelled once it is judged. A case's script is said by the model
        `fake:NUMBER`: open Interlock with `models={"fake": interlock.testing.models.of_cases(suite)}`. Raises StoreError."""
        from interlock.app.evaluating import Evaluating

        return await Evaluating(self._parts, self._caller, self, self._harness).evaluate(spec, suite)

    def _told(
        self, take: "Callable[[agents.harness.Watch], Awaitable[agents.harness.Turn]]"
    ) -> "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]":
        from interlock import agents

        return agents.harness.Telling(self._harness.means, self._caller).told(take)

    def _check_here(self, spec: "agents.Spec") -> None:
        """Raises InvalidSpec for an agent whose functions this program does not have: a model would be told so at every call."""
        from interlock import agents, sdk

        known = self._harness.means.registry
        missing = [
            sdk.Problem(
                path=f"operations[{index}].source.ref",
                problem=f"there is no {each.kind} {each.source.ref!r} in this program",
                suggestion=f"`il.agents.offer({each.source.ref})`, or a module of `[app] modules`",
            )
            for index, each in enumerate(spec.operations)
            if each.kind == agents.FUNCTION and known.find_function(each.source.ref) is None
        ]
        if missing:
            raise agents.InvalidSpec(f"the agent {spec.id!r}", missing)

    def _asked(
        self, spec: "agents.Spec", text: str, options: TurnOptions
    ) -> "tuple[agents.harness.Asked, agents.harness.Options]":
        from interlock import agents

        _check_spec(spec)
        if unknown := sorted(options.keys() - TurnOptions.__annotations__.keys()):
            raise TypeError(f"a turn has no option {unknown[0]!r}; it has {', '.join(TurnOptions.__annotations__)}")
        context = options.get("context")
        given = context.model_dump(mode="json", by_alias=True) if isinstance(context, BaseModel) else context
        asked = agents.harness.Asked(spec=spec, text=text, session_id=options.get("session"), context=given or {})
        how = agents.harness.Options(
            environment=options.get("environment") or self._parts.settings.environment,
            idempotency_key=options.get("idempotency_key"),
            trace_id=options.get("trace_id"),
            parent_run_id=options.get("parent_run_id"),
            accept=options.get("accept", False),
        )
        return asked, how


def _check_spec(spec: object) -> None:
    from interlock import agents

    if not isinstance(spec, agents.Spec):
        raise RequestError(
            f"spec must be a Spec, not {type(spec).__name__}",
            next_step="Make it by `agents.agent`, or of a document by `agents.read_spec(Path(FILE), registry=…)`.",
        )


def _check_guest(guest: object) -> None:
    from interlock import agents

    if not isinstance(guest, agents.harness.Guest):
        raise RequestError(f"guest must be a Guest, not {type(guest).__name__}")
