"""Who hears that a run is cancelled."""

from types import SimpleNamespace
from typing import Any

import pytest

from fix_ledger import Builder
from interlock import dispatch, runs
from interlock.adapters import sql

pytestmark = pytest.mark.anyio


async def test_of_two_attempts_at_one_run_each_hears_until_it_ends(memory_store: sql.SqlStore, builder: Builder):
    """A worker that was frozen is handed the run again that another has recovered: the first attempt still ends here."""
    ledger, admission = sql.SqlLedger(memory_store), builder.admission()
    await ledger.admit(admission)
    wiring: Any = SimpleNamespace(store=memory_store, ledger=ledger)
    stopping, stopped = dispatch.Stopping(wiring), list[str]()
    first = stopping.heard(admission.run.run_id, lambda: stopped.append("first"))
    first.__enter__()
    with stopping.heard(admission.run.run_id, lambda: stopped.append("second")):
        first.__exit__(None, None, None)
        await ledger.apply(builder.note(admission.run, runs.CANCEL_REQUESTED))
        await stopping.look()
    await stopping.look()
    assert stopped == ["second"]
