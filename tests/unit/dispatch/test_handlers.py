"""Marked functions."""

from types import ModuleType
from typing import Any

import pytest

from interlock import dispatch
from interlock.kernel import RequestError


@dispatch.handler("incident")
async def incident(event: dispatch.Event, context: dispatch.Context) -> None: ...


@dispatch.handler("report.daily", timeout=5)
def report(event: dispatch.Event, context: dispatch.BlockingContext) -> None: ...


def test_marked_functions_are_collected_from_modules():
    module: Any = ModuleType("incidents")
    module.incident, module.again, module.report, module.other = incident, incident, report, print
    found = dispatch.Handlers(modules=[module])
    assert found.names == {"incident", "report.daily"}
    assert found.lanes == {"handler:incident", "handler:report.daily"}
    daily = found.find("report.daily")
    assert daily is not None
    assert (daily.timeout, daily.is_async) == (5, False)
    assert found.find("nobody") is None


def test_two_handlers_of_one_name_are_refused():
    @dispatch.handler("incident")
    async def another(event: dispatch.Event, context: dispatch.Context) -> None: ...

    with pytest.raises(dispatch.InvalidHandlers, match=r"'incident'.*test_handlers\.incident.*another"):
        dispatch.Handlers([incident, another])


def test_a_function_without_a_mark_is_refused():
    with pytest.raises(dispatch.InvalidHandlers, match="'print'"):
        dispatch.Handlers([print])


@pytest.mark.parametrize("name", ["", "Incident", "a b", "x" * 101, "-x", "handler:x"])
def test_a_name_that_is_none(name: str):
    with pytest.raises(RequestError, match=r"handler\.NAME"):
        dispatch.handler(name)
    with pytest.raises(RequestError, match=r"handler\.NAME"):
        dispatch.Work(handler=name, payload={})


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), 1e9])
def test_a_timeout_that_is_none(timeout: float):
    with pytest.raises(RequestError, match="timeout"):
        dispatch.handler("incident", timeout=timeout)


@pytest.mark.parametrize(
    "changes", [{"max_attempts": 0}, {"max_attempts": 101}, {"base_seconds": 0}, {"base_seconds": 10, "cap_seconds": 5}]
)
def test_a_retry_policy_that_is_none(changes: dict[str, Any]):
    with pytest.raises(RequestError):
        dispatch.RetryPolicy(**changes)
