"""The API's description says of every name one thing."""

from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import create_model

from interlock.server.api.description import describe


def offering(*names: str) -> FastAPI:
    """Routes with models of these modules and names, each with a field of its own."""
    made = FastAPI(title="x")
    for number, name in enumerate(names):
        module, _, called = name.rpartition(".")
        fields: Any = {f"of_{number}": (int, ...)}
        model: Any = create_model(called, __module__=module, **fields)
        made.get(f"/{number}", response_model=model)(lambda: None)
    return made


def test_words_of_several_rooms_are_told_apart():
    document = describe(offering("interlock.runs.model.State", "interlock.triggers.polling.model.State"))
    assert {"RunsState", "PollingState", "Problem"} <= document["components"]["schemas"].keys()


@pytest.mark.parametrize(
    "names",
    [
        ("interlock.runs.model.State", "interlock.runs.other.State"),
        ("interlock.server.api.shapes.Problem",),
    ],
)
def test_a_name_for_two_things_is_refused(names: tuple[str, ...]):
    with pytest.raises(ValueError, match="two schemas of the API would be called"):
        describe(offering(*names))
