"""The published schema of agents' documents, held by a validator of another make than the one that reads them."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from agent_documents import FULL, TYPOS, documented, mistaken
from interlock import agents

PUBLISHED = Path(__file__).parents[3] / "schemas" / "agent" / "v1.json"
jsonschema: Any = importlib.import_module("jsonschema")  # has no types
VALIDATOR = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text()))


def test_it_lets_pass_all_that_is_documented():
    found = [*documented(), FULL]
    assert len(found) > 10
    assert [error for each in found for error in VALIDATOR.iter_errors(each)] == []


@pytest.mark.parametrize(("where", "member", "value"), TYPOS)
def test_a_mistake_is_told_with_its_place(where: str, member: str, value: object):
    document = mistaken(where, member, value)
    told = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(document))
    assert told is not None
    assert told.json_path in (where, f"{where}.{member}")
    assert member in f"{told.json_path} {told.message}"
    with pytest.raises(agents.InvalidSpec) as raised:
        agents.assemble(document, source="it")
    assert any(member in each.path for each in raised.value.problems)
