"""A provider held against the dictionaries: whatever is done to both, both answer the same."""

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from interlock import memory
from interlock.testing.memory.case import SCOPE, Reference, Trial

T = TypeVar("T")

TEXTS = st.sampled_from(["alpha beta", "Alpha, beta", "gamma", "beta gamma delta", "the quick brown fox", "東京タワー"])
WORDS = st.sampled_from(["alpha", "beta", "gamma delta", "quick absent", "東京"])
TAGS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2)
SCOPES = st.sampled_from(
    [SCOPE, SCOPE.narrowed(session="s1"), memory.Scope(tenant="acme"), memory.Scope(tenant="other")]
)
WHICH = st.integers(0, 5)


def against_dictionaries(reference: Reference, registry: memory.Registry | None = None) -> type[RuleBasedStateMachine]:
    """A state machine for this provider: run it by `hypothesis.stateful.run_state_machine_as_test`."""

    class Machine(_Machine):
        def __init__(self) -> None:
            super().__init__(reference, registry)

    return Machine


class _Machine(RuleBasedStateMachine):
    def __init__(self, reference: Reference, registry: memory.Registry | None) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="interlock-memory-"))
        self._portal_door = start_blocking_portal()
        self._portal = self._portal_door.__enter__()
        self._stack = AsyncExitStack()
        oracle = Trial(memory.ProviderRef(name="memory"), None)
        self._pair = (oracle, Trial(reference(self._folder), registry))
        for trial in self._pair:
            self._portal.call(self._stack.enter_async_context, trial)
        # Of both the ids, by the number of the record.
        self._numbers: tuple[dict[str, int], dict[str, int]] = ({}, {})

    def teardown(self) -> None:
        self._portal.call(self._stack.aclose)
        self._portal_door.__exit__(None, None, None)
        shutil.rmtree(self._folder)

    @rule(
        text=TEXTS,
        tags=TAGS,
        scope=SCOPES,
        memory_class=st.sampled_from(["episodic", "semantic"]),
        key=st.none() | st.sampled_from(["k1", "k2"]),
        lasts=st.none() | st.integers(1, 5),
        supersedes=st.none() | WHICH,
    )
    def remember(
        self, lasts: int | None, supersedes: int | None, key: str | None, scope: memory.Scope, **fields: Any
    ) -> None:
        def act(trial: Trial, side: int) -> Awaitable[memory.Record]:
            expires_at = None if lasts is None else trial.clock.now() + timedelta(seconds=lasts)
            old = None if supersedes is None else self._id(side, supersedes)
            return trial.at(scope).remember(
                memory.Draft.of(**fields, expires_at=expires_at, supersedes=old, idempotency_key=key)
            )

        self._same(act, self._record)

    @rule(which=WHICH, text=TEXTS, scope=SCOPES, revision=st.none() | st.integers(1, 3))
    def revise(self, which: int, text: str, scope: memory.Scope, revision: int | None) -> None:
        def act(trial: Trial, side: int) -> Awaitable[memory.Record]:
            return trial.at(scope).remember(
                memory.Draft.of(text=text, record_id=self._id(side, which), if_revision=revision)
            )

        self._same(act, self._record)

    @rule(which=WHICH, text=TEXTS, scope=SCOPES)
    def copy(self, which: int, text: str, scope: memory.Scope) -> None:
        """A record with the id of another one, in its scope or in another."""
        if not self._pair[1].mem.capabilities().guarantees.chosen_ids:
            return

        def act(trial: Trial, side: int) -> Awaitable[memory.Record]:
            record_id = self._id(side, which)
            return trial.at(scope).remember(memory.Draft.of(text=text, record_id=record_id, if_revision=0))

        self._same(act, self._record)

    @rule(which=WHICH, scope=SCOPES)
    def forget(self, which: int, scope: memory.Scope) -> None:
        def told(gone: memory.Forgotten, side: int) -> object:
            ids = (gone.record_ids, gone.derived_ids, gone.restored_ids)
            return [sorted(self._numbers[side][each] for each in part) for part in ids], gone.revisions, gone.traces

        self._same(lambda trial, side: trial.at(scope).forget(self._id(side, which)), told)

    @rule(scope=SCOPES)
    def prune(self, scope: memory.Scope) -> None:
        self._same(lambda trial, _: trial.at(scope).prune(), lambda count, _: count)

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        for trial in self._pair:
            trial.clock.advance(seconds)

    @rule(scope=SCOPES, policies=st.sampled_from([[], ["duplicates"], ["near_duplicates"]]))
    def consolidate(self, scope: memory.Scope, policies: list[str]) -> None:
        if not self._pair[1].mem.capabilities().supports("consolidate"):
            return

        async def act(trial: Trial, side: int) -> memory.ConsolidationResult:
            mem = trial.at(scope)
            result = await mem.apply_consolidation(await mem.plan_consolidation(policies))
            for record_id in result.made:
                self._number(record_id, side)
            return result

        def told(result: memory.ConsolidationResult, side: int) -> object:
            return result.status, sorted(self._numbers[side][each] for each in result.ended), len(result.made)

        self._same(act, told)

    @rule(scope=SCOPES, words=WORDS, tags=TAGS, past=st.integers(0, 4))
    def search(self, scope: memory.Scope, words: str, tags: list[str], past: int) -> None:
        """The same records, in whatever order: what a word counts is each engine's own."""

        def act(trial: Trial, _: int) -> Awaitable[memory.RetrieveResult]:
            known_at = trial.clock.now() - timedelta(seconds=past)
            return trial.at(scope).retrieve(
                words, mode="text", tags_any=tags, limit=1_000, exact_total=True, known_at=known_at
            )

        self._same(act, lambda found, side: (sorted(map(str, self._records(found, side))), found.total))

    @rule(which=WHICH, scope=SCOPES)
    def look(self, which: int, scope: memory.Scope) -> None:
        def told(entries: tuple[memory.HistoryEntry, ...], side: int) -> object:
            return [
                (each.revision, each.change, each.at, each.digest, each.record and self._record(each.record, side))
                for each in entries
            ]

        self._same(lambda trial, side: trial.at(scope).get(self._id(side, which)), self._record)
        self._same(lambda trial, side: trial.at(scope).history(self._id(side, which)), told)

    @invariant()
    def they_show_the_same(self) -> None:
        for scope in (SCOPE, memory.Scope(tenant="acme")):

            def act(trial: Trial, _: int, scope: memory.Scope = scope) -> Awaitable[memory.RetrieveResult]:
                return trial.at(scope).retrieve(as_of="any", limit=1_000)

            self._same(act, lambda found, side: (self._records(found, side), found.scope_known))

    # -- the parts

    def _id(self, side: int, which: int) -> str:
        """The id of some record, or of none."""
        ids = list(self._numbers[side])
        return ids[which % len(ids)] if ids else "mem_" + "f" * 32

    def _number(self, record_id: str, side: int) -> int:
        return self._numbers[side].setdefault(record_id, len(self._numbers[side]))

    def _record(self, record: memory.Record, side: int) -> object:
        """A record without what is each side's own."""
        self._number(record.record_id, side)
        told = record.to_json() | {"record_id": self._numbers[side][record.record_id], "change_id": None}
        if record.superseded_by is not None:
            told["superseded_by"] = self._number(record.superseded_by, side)
        return told

    def _records(self, found: memory.RetrieveResult, side: int) -> list[object]:
        return [self._record(record, side) for record in found.records]

    def _same(self, act: Callable[[Trial, int], Awaitable[T]], told: Callable[[T, int], object]) -> None:
        """Raises AssertionError unless both answer the same, or fail alike."""
        seen: list[object] = []
        for side, trial in enumerate(self._pair):

            async def ask(trial: Trial = trial, side: int = side) -> object:
                try:
                    return told(await act(trial, side), side)
                except memory.MemoryFault as error:
                    return error.code

            seen.append(self._portal.call(ask))
        assert seen[0] == seen[1], f"the dictionaries say {seen[0]!r}, and the provider {seen[1]!r}"
