"""One commit of a turn's journal: written once, however often it is tried, and whether it is there if nobody could tell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from interlock import runs
from interlock.agents.harness import journal
from interlock.agents.harness.means import Means
from interlock.agents.harness.spending import Amounts, Holding, Spending
from interlock.kernel import StoreError, Tx


@dataclass(slots=True)
class Unsaved:
    """An entry that is not known to be committed, and what stands in the chain of one that is too long for it."""

    entry: runs.Entry
    short: runs.Entry | None = None
    artifact: runs.Artifact | None = None


async def shortened(
    means: Means, working: runs.Working, unsaved: Iterable[Unsaved]
) -> tuple[list[runs.Entry], list[runs.Artifact]]:
    """The entries, those that are too long by the artifacts that hold them."""
    told: list[runs.Entry] = []
    artifacts: list[runs.Artifact] = []
    for each in unsaved:
        if each.short is None:
            short, content = each.entry, journal.too_long(each.entry)
            if content is not None:
                each.artifact = await means.tasks.keep(working, each.entry[0], content)
                short = journal.kept(each.entry, each.artifact)
            each.short = short
        told.append(each.short)
        artifacts += [] if each.artifact is None else [each.artifact]
    return told, artifacts


@dataclass(slots=True, kw_only=True)
class Commit:
    """What happened (`unsaved`, which `came_to` that much), and after it what is `intended`, by these keys."""

    means: Means
    working: runs.Working
    spending: Spending
    unsaved: Sequence[Unsaved]
    came_to: Mapping[str, Amounts | None]
    intended: Sequence[runs.Entry]
    keys: frozenset[str]
    holding: Holding | None
    told: Sequence[runs.Entry] = field(default=(), init=False)
    last_seq: int = field(default=0, init=False)
    """The number of the last of them, once it is there."""
    _failed: bool = field(default=False, init=False)

    async def __call__(self) -> None:
        """Write it. Raises OverBudget, StaleRun, StoreError."""
        if await self.is_there():
            return
        told, kept = await shortened(self.means, self.working, self.unsaved)
        self.told = [*told, *self.intended]
        beside = self._beside if self.holding is not None or self.came_to else None
        try:
            await self.means.tasks.note(self.working, self.told, kept=kept, beside=beside)
        except StoreError:
            self._failed = True
            raise
        self.last_seq = self.working.journal.run.head_seq

    def _beside(self, tx: Tx) -> None:
        if self.holding is not None:
            self.holding(tx)
        self.spending.settle(tx, self.came_to)

    async def is_there(self) -> bool:
        """Whether a try that failed has written it after all: nobody else writes a turn's entries under this fence. Raises
        StoreError."""
        if not self._failed:
            return False
        run, wiring = self.working.journal.run, self.means.wiring
        now = await wiring.store.read(lambda tx: wiring.ledger.find_run(tx, run.tenant_id, run.run_id))
        if now is None or now.fence != run.fence:
            return False
        notes = await self.means.reading.events_after(run, run.head_seq)
        found = [each.seq for each in notes if each.type.startswith(journal.PREFIX)]
        if not found:
            return False
        self.last_seq = found[-1]
        self.working.journal.run = replace(now)
        return True
