"""Agents' turns as one caller sees them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import BaseModel

from interlock.app.arguments import checked
from interlock.kernel import JSON, Caller

if TYPE_CHECKING:  # and late in the functions: whoever asks no agent needs none of them
    from interlock import agents, dispatch
    from interlock.app.assembly import Parts
    from interlock.app.carrying import Carrying
    from interlock.app.turning import Holder


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
    def stopping(self) -> "dispatch.Stopping":
        """What hears of turns of this process that somebody cancels: asked once a second, by itself."""
        return self._harness.stopping

    @checked
    async def run(
        self,
        spec: "agents.Spec",
        text: str,
        *,
        session: str | None = None,
        context: Mapping[str, JSON] | BaseModel | None = None,
        environment: str | None = None,
        idempotency_key: str | None = None,
        trace_id: str | None = None,
        parent_run_id: str | None = None,
        accept: bool = False,
    ) -> "agents.harness.Turn":
        """Say something to an agent, and take its turn here and now. A turn that waits for a yes is held, and comes back as
        it stands, as do one that policy denies or sheds and the one that holds the idempotency key. `context`, as JSON or a
        pydantic model, is for operations and controls, and no model sees it; `accept` lets a session go on with an agent that
        has changed.

        Raises RequestError, and with `run_id`: TurnFailed, OperationUnclear, RunCancelled, and what ended the attempt and not the
        turn, which `resume` goes on with.
        """
        asked, options = self._asked(
            spec, text, session, context, environment, idempotency_key, trace_id, parent_run_id, accept=accept
        )
        return (await self._harness.run(self._caller, asked, options)).check()

    @checked
    async def submit(
        self,
        spec: "agents.Spec",
        text: str,
        *,
        session: str | None = None,
        context: Mapping[str, JSON] | BaseModel | None = None,
        environment: str | None = None,
        idempotency_key: str | None = None,
        trace_id: str | None = None,
        parent_run_id: str | None = None,
        accept: bool = False,
        retry: "dispatch.RetryPolicy | None" = None,
    ) -> "agents.harness.Turn":
        """As `run`, by a worker. It returns once that is committed; `il.dispatch.wait` waits for its end, and `fetch` tells how
        it stands."""
        asked, options = self._asked(
            spec, text, session, context, environment, idempotency_key, trace_id, parent_run_id, accept=accept
        )
        return await self._harness.submit(self._caller, asked, options, retry=retry)

    async def stream(
        self,
        spec: "agents.Spec",
        text: str,
        *,
        session: str | None = None,
        context: Mapping[str, JSON] | BaseModel | None = None,
        environment: str | None = None,
        idempotency_key: str | None = None,
        trace_id: str | None = None,
        parent_run_id: str | None = None,
        accept: bool = False,
    ) -> "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]":
        """As `run`, telling what happens as it happens: entries of the turn's journal once they are committed, and (`delta`) what
        the model is saying. The last is the turn as it then stands. Whoever stops listening stops the attempt; `resume` goes on.

            async with aclosing(il.agents.stream(spec, "…")) as told:
                async for each in told: …
        """
        asked, options = self._asked(
            spec, text, session, context, environment, idempotency_key, trace_id, parent_run_id, accept=accept
        )
        harness, caller = self._harness, self._caller
        async with aclosing(_told(lambda watch: harness.run(caller, asked, options, watch=watch))) as told:
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
        async with aclosing(_told(lambda watch: harness.resume(caller, run_id, watch=watch))) as told:
            async for each in told:
                yield each

    @checked
    async def take_guest(
        self, guest: "agents.harness.Guest", loop: "Callable[[agents.harness.Steps], Awaitable[agents.harness.Came]]"
    ) -> "agents.harness.Taken":
        """Take the turn of another framework's agent that has this key as far as it goes: `loop` is run from its beginning, and
        what it did before is told to it again. For adapters, as `bridges.durability` is one. Raises RequestError,
        IdempotencyConflict, TurnNotResumable, and what ended the attempt and not the turn."""
        return await self._harness.take_guest(self._caller, guest, loop)

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
    async def list(
        self, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> "Sequence[agents.harness.Turn]":
        """Turns of this tenant, newest first; go on with `cursor` = the last one's run id."""
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

    def _asked(
        self,
        spec: "agents.Spec",
        text: str,
        session: str | None,
        context: Mapping[str, JSON] | BaseModel | None,
        environment: str | None,
        idempotency_key: str | None,
        trace_id: str | None,
        parent_run_id: str | None,
        *,
        accept: bool,
    ) -> "tuple[agents.harness.Asked, agents.harness.Options]":
        from interlock import agents

        given = context.model_dump(mode="json", by_alias=True) if isinstance(context, BaseModel) else context
        asked = agents.harness.Asked(spec=spec, text=text, session_id=session, context=given or {})
        options = agents.harness.Options(
            environment=environment or self._parts.settings.environment,
            idempotency_key=idempotency_key,
            trace_id=trace_id,
            parent_run_id=parent_run_id,
            accept=accept,
        )
        return asked, options


async def _told(
    take: "Callable[[agents.harness.Watch], Any]",
) -> "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]":
    """What happens while the turn is taken, and the turn."""
    send, receive = anyio.create_memory_object_stream["agents.harness.Happening | agents.harness.Turn"](10_000)
    failures: list[Exception] = []

    async def work() -> None:
        async with send:
            try:
                turn = await take(send.send_nowait)
                await send.send(turn)
            except Exception as error:  # noqa: BLE001 - raised where it is listened to
                failures.append(error)

    async with anyio.create_task_group() as tasks, receive:
        tasks.start_soon(work)
        try:
            async for each in receive:
                yield each
        except GeneratorExit:  # raised out of the group, it would come in another one
            return
        finally:
            tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
