"""A secret prints, pickles and copies nothing."""

import copy
import json
import pickle
import traceback

import orjson
import pytest

from interlock.kernel import Secret

CANARY = "canary-5Zq-secret"


def test_it_shows_nothing() -> None:
    secret = Secret(CANARY)
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        repr([secret]),
        repr({"a": secret}),
    ):
        assert CANARY not in shown
    assert secret.reveal() == CANARY


@pytest.mark.parametrize("escape", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, orjson.dumps, hash])
def test_it_does_not_travel_by_accident(escape: object) -> None:
    assert callable(escape)
    with pytest.raises(TypeError) as caught:
        escape(Secret(CANARY))
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_it_compares_by_value() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("other")
    assert Secret(CANARY) != CANARY
    assert Secret("x")
    assert not Secret("")
