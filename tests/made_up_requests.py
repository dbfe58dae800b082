"""Requests that Schemathesis makes up from the description of the API, and the API under them."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import httpx2
import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from fix_app import ASK_WRITES, World
from fix_http_api import HOST, lined
from interlock.server import api

EXAMPLE, FOLLOWING = "run_01890a5d4c3e7b2a8f6e5d4c3b2a1908", "GET /v1/runs/{run_id}/events/stream"
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example)


@cache
def document() -> Any:
    return api.openapi()


def cases(operation: Any, mode: GenerationMode, count: int) -> list[Any]:
    """Requests that somebody could send."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=SLOW,
    )
    @given(operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(case)

    collect()
    return found


def requests(modes: Sequence[GenerationMode], count: int) -> Sequence[dict[str, Any]]:
    """`count` of each kind for each operation."""
    known: Any = schemathesis.openapi.from_dict(document())
    operations = [each.ok() for each in known.get_all_operations()]
    made = [case for each in operations for mode in modes for case in cases(each, mode, count)]
    return [{**case.as_transport_kwargs(base_url=f"http://{HOST}"), "operation": case.operation.label} for case in made]


def misfit(label: str, answer: httpx2.Response) -> str | None:
    """What the answer says that its description does not."""
    method, _, path = label.partition(" ")
    said = document()["paths"][path][method.lower()]["responses"]
    content = said.get(str(answer.status_code), said["default"]).get("content", {})
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind == "application/problem+json":
        content = said["default"]["content"]
    if answer.content and kind not in content:
        return f"{kind} is not one of {[*content]}"
    schema = content.get(kind, {}).get("schema")
    if schema is None or not kind.endswith("json"):
        return None
    whole = {**schema, "components": document()["components"]}
    found = next(jsonschema_rs.Draft202012Validator(whole).iter_errors(json.loads(answer.content)), None)
    return None if found is None else str(found)


async def try_all(file_world: World, made: Sequence[dict[str, Any]]) -> None:
    sent: list[int] = []
    async with lined(file_world, law=ASK_WRITES) as line:
        client = await line.client("fuzz", "operator", "caller", "approver", "token-admin")
        held, over = await line.process.create(), await line.process.create("Window")
        await line.process.il.runs.cancel(over.run_id)
        for each in made:
            label, url = each.pop("operation"), each.pop("url")
            # Who follows the events of a run that goes on is answered for as long as it does.
            url = url.replace(EXAMPLE, over.run_id if label == FOLLOWING else held.run_id)
            del each["cookies"]
            each["headers"].pop("Authorization", None)
            if isinstance(each.get("data"), bytes | str):
                each["content"] = each.pop("data")
            answer = await client.request(each.pop("method"), url, **each)
            assert answer.status_code < 500, (label, url, each, answer.text)
            assert (wrong := misfit(label, answer)) is None, (label, url, each, answer.text[:500], wrong)
            sent.append(answer.status_code)
    assert len(sent) > len(document()["paths"])
    assert set(sent) >= {200, 404}
