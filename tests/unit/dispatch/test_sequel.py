"""What follows a failure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fix_ledger import dead_letter
from interlock import dispatch, runs, sdk
from interlock.adapters.sql.errors import StoreFull
from interlock.dispatch import sequel
from interlock.kernel import InterlockError, ProviderError, RequestError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DUE = replace(
    dead_letter("run_1", "default"),
    due_at=NOW,
    submitted_at=NOW,
    tries=0,
    retry=dispatch.RetryPolicy(max_attempts=3, base_seconds=2, cap_seconds=5),
    standing=dispatch.Standing.DUE,
    why=None,
)


def longest(_low: float, high: float) -> float:
    return high


def after(error: InterlockError, due: dispatch.Due = DUE) -> sequel.Sequel:
    return sequel.after(due, error, now=NOW, uniform=longest)


@pytest.mark.parametrize(("tries", "seconds"), [(0, 2), (1, 4)])
def test_what_may_work_later_is_tried_later_and_later(tries: int, seconds: float):
    found = after(ProviderError("down"), replace(DUE, tries=tries))
    assert found.state is runs.State.RETRY_SCHEDULED
    assert found.due_at == NOW + timedelta(seconds=seconds)
    assert (found.reason, found.why, found.due.tries) == ("provider_error", "backoff", tries + 1)


def test_the_pause_has_a_cap():
    patient = replace(DUE, tries=20, retry=replace(DUE.retry, max_attempts=100))
    assert after(ProviderError("down"), patient).due_at == NOW + timedelta(seconds=5)


def test_the_last_try_ends_it():
    found = after(ProviderError("down"), replace(DUE, tries=2))
    assert (found.state, found.reason, found.due.tries, found.due_at) == (runs.State.DEAD, "exhausted", 3, None)


@pytest.mark.parametrize("error", [dispatch.Reject("no"), RequestError("wrong")])
def test_what_never_works_is_not_tried_again(error: InterlockError):
    found = after(error)
    assert (found.state, found.reason, found.due.tries) == (runs.State.DEAD, error.code, 0)


@pytest.mark.parametrize(
    "error", [runs.OwnershipLapsed("frozen"), runs.OutcomeUnsaved("the store is gone"), runs.StaleRun("recovered")]
)
def test_trouble_of_the_worker_with_the_store_is_no_reason_to_give_work_up(error: InterlockError):
    """What a handler asked for is left to recovery, and the next attempt is answered with what became of it."""
    found = after(error)
    assert (found.state, found.why, found.due.tries) == (runs.State.RETRY_SCHEDULED, "backoff", 1)
    assert after(error, replace(DUE, tries=2)).state is runs.State.DEAD


@pytest.mark.parametrize(
    "error", [runs.OutcomeUnsaved("the disk is full"), runs.OwnershipLapsed("it was away"), StoreFull("no room")]
)
def test_what_a_store_that_failed_kept_from_being_done_takes_no_try(error: InterlockError):
    found = sequel.after(replace(DUE, tries=2), error, now=NOW, uniform=longest, store_failed=True, attempts=3)
    assert (found.state, found.why, found.due.tries) == (runs.State.RETRY_SCHEDULED, "store_failed", 2)
    assert found.due_at == NOW + timedelta(seconds=5)
    raised = sequel.after(DUE, ProviderError("down"), now=NOW, uniform=longest, store_failed=True)
    assert (raised.why, raised.due.tries) == ("backoff", 1), "that is the service's"


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 2), (2, 4), (3, 5), (sequel.MOST_UNCOUNTED, 5)])
@pytest.mark.parametrize("error", [StoreFull("no room"), runs.AttemptLost("its outcome is not there")])
def test_a_store_that_goes_on_failing_is_asked_later_and_later(error: InterlockError, attempts: int, seconds: float):
    found = sequel.after(DUE, error, now=NOW, uniform=longest, store_failed=True, attempts=attempts)
    assert (found.why, found.due.tries) == ("store_failed", 0)
    assert found.due_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("error", [StoreFull("no room"), runs.AttemptLost("its outcome is not there")])
def test_what_the_store_has_failed_for_very_often_is_tried_as_anything_else(error: InterlockError):
    over = sequel.MOST_UNCOUNTED + 1
    found = sequel.after(DUE, error, now=NOW, uniform=longest, store_failed=True, attempts=over)
    assert (found.why, found.due.tries) == ("backoff", 1)
    last = sequel.after(replace(DUE, tries=2), error, now=NOW, store_failed=True, attempts=over)
    assert (last.state, last.reason) == (runs.State.DEAD, "exhausted")


def test_a_service_that_names_a_time_takes_no_try():
    found = after(sdk.RateLimited("slow down", retry_after=90, effect="none"), replace(DUE, tries=2))
    assert found.state is runs.State.RETRY_SCHEDULED
    assert found.due_at == NOW + timedelta(seconds=90)
    assert (found.why, found.due.tries) == ("paused_by_service", 2)


def test_work_is_not_begun_after_its_deadline():
    short = replace(DUE, deadline_at=NOW + timedelta(seconds=1))
    found = after(ProviderError("down"), short)
    assert (found.state, found.reason) == (runs.State.DEAD, "deadline_passed")


def test_a_worker_that_stops_takes_no_try():
    found = after(dispatch.WorkerStopped("stopped"), replace(DUE, tries=2))
    assert (found.state, found.due_at, found.due.tries) == (runs.State.RETRY_SCHEDULED, NOW, 2)


def test_what_was_cancelled_is_over():
    found = sequel.after(DUE, runs.RunCancelled("cancelled"), now=NOW, cancelled=True)
    assert (found.state, found.due_at) == (runs.State.CANCELLED, None)


def test_what_another_run_was_cancelled_for_is_a_dead_letter():
    """A handler that was told of a child that somebody cancelled."""
    assert after(runs.RunCancelled("cancelled")).state is runs.State.DEAD
