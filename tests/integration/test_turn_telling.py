"""Who listens to a turn hears all that is in its journal, however slowly they listen, and in bounded memory."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from interlock import Interlock, agents, inference, kernel, runs
from interlock.agents import harness
from interlock.testing import models

pytestmark = pytest.mark.anyio


@agents.operation(idempotency="pure")
async def look(n: int) -> str:
    """Look."""
    return f"door {n}"


@pytest.mark.parametrize("judged", [False, True])
async def test_who_falls_behind_misses_no_entry_of_the_journal(judged: bool):
    script = [models.answer("Let me see.", models.call("look", n=n)) for n in range(3)]
    controls = {"outputs": [{"control": "max_length", "options": {"max": 99}}]} if judged else {}
    spec = agents.agent("desk", "Look.", model="fake:x", operations=[look], controls=controls)
    async with Interlock.open(":memory:", models={"fake": lambda _: models.Scripted([*script, "Done."])}) as il:
        il.agents.offer(look)
        taking = il._turning.harness
        telling = harness.Telling(taking.means, il.caller, most=4)
        asked, how = harness.Asked(spec=spec, text="Go."), harness.Options()
        told: list[harness.Happening | harness.Turn] = []
        async with aclosing(telling.told(lambda watch: taking.run(il.caller, asked, how, watch=watch))) as steps:
            told.append(await anext(steps))
            while [each.state for each in await il.agents.list()] != [runs.State.COMPLETED]:  # noqa: ASYNC110 - the store tells nobody
                await anyio.sleep(0.01)
            told += [each async for each in steps]
        turn = told.pop()
        assert isinstance(turn, harness.Turn)
        assert turn.answer == "Done."
        heard = [each for each in told if isinstance(each, harness.Happening)]
        assert {each.run_id for each in heard} == {turn.run_id}
        entries = [(each.seq, each.kind) for each in heard if each.seq is not None]
        kept = [(each.seq, f"turn.{each.kind}") for each in await il.agents.lines(turn.run_id)]
        assert entries == kept
        assert len(entries) > 10
        assert ("Let me see." in str([each.data for each in heard])) is not judged


async def test_who_falls_behind_while_the_store_fails_is_told_that(monkeypatch: pytest.MonkeyPatch):
    async def away(*_: Any) -> Any:
        raise kernel.StoreError("the store is away")

    spec = agents.agent("desk", "Look.", model="fake:x", operations=[look])
    script = [models.answer(models.call("look", n=1)), "Done."]
    async with Interlock.open(":memory:", models={"fake": lambda _: models.Scripted(script)}) as il:
        il.agents.offer(look)
        taking, asked = il._turning.harness, harness.Asked(spec=spec, text="Go.")
        telling = harness.Telling(taking.means, il.caller, most=2)
        taken = telling.told(lambda watch: taking.run(il.caller, asked, harness.Options(), watch=watch))
        async with aclosing(taken) as steps:
            await anext(steps)
            while [each.state for each in await il.agents.list()] != [runs.State.COMPLETED]:  # noqa: ASYNC110 - as above
                await anyio.sleep(0.01)
            monkeypatch.setattr(runs.Reading, "events_after", away)
            with pytest.raises(kernel.StoreError, match="away"):
                [_ async for _ in steps]


async def test_numbers_are_those_of_the_journal_for_who_listens_all_the_time():
    @agents.operation(idempotency="unsafe_once", approval={})
    async def pay() -> str:
        """Pay."""
        return "x" * 20_000  # too long for the chain

    def says(request: inference.Request) -> Any:
        return models.call("pay") if len(request.messages) == 1 else "Done."

    spec = agents.agent("desk", "Pay.", model="fake:x", operations=[pay])
    async with Interlock.open(":memory:", models={"fake": lambda _: models.Scripted(says)}) as il:
        il.agents.offer(pay)
        heard: list[tuple[int | None, str]] = []

        async def listen(steps: AsyncGenerator[harness.Happening | harness.Turn]) -> harness.Turn:
            async with aclosing(steps) as told:
                async for each in told:
                    if isinstance(each, harness.Turn):
                        return each
                    if each.kind.startswith("turn."):
                        heard.append((each.seq, each.kind))
            raise AssertionError("the last is the turn")

        held = await listen(il.agents.stream(spec, "Go."))
        [waits] = held.waiting
        assert waits.approval_id is not None
        reviewer = il.as_caller(kernel.Caller(tenant_id="default", actor="ada", roles=frozenset({"approver"})))
        await reviewer.approvals.approve(waits.approval_id)
        turn = await listen(il.agents.resume_stream(held.run_id))
        assert turn.answer == "Done."
        assert heard == [(each.seq, f"turn.{each.kind}") for each in await il.agents.lines(turn.run_id)]
        with pytest.raises(TypeError, match="'sesion'"):
            await il.agents.run(spec, "Go.", sesion="x")  # pyright: ignore[reportCallIssue]
