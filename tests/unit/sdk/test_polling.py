"""What a poll trigger declares, and what of it contradicts itself."""

import json
from typing import Any

import pytest

from interlock import sdk


class Config(sdk.Input):
    project: str


class Thing(sdk.Record):
    id: int
    changed_at: str


class Things(sdk.Record):
    things: list[Thing]


class ThingList(sdk.Input):
    """List things."""

    project: str
    since: str | None = None
    page: int | None = None


class ThingCreate(sdk.Input):
    """Make one."""

    project: str


GOOD: dict[str, Any] = {
    "operation": "thing.list",
    "input": {"project": "{config.project}"},
    "items": "/things",
    "moment": "/changed_at",
    "since_field": "since",
}


def connector(**listing: Any) -> sdk.Manifest:
    said = {name: value for name, value in {**GOOD, **listing}.items() if value is not None}
    return sdk.Connector(
        "things",
        version="1.0.0",
        description="Things.",
        base_url="https://api.things.example",
        auth=[sdk.token_profile("token")],
        operations=[
            sdk.get("thing.list", "/{project}/things", input=ThingList, output=Things),
            sdk.post("thing.create", "/{project}/things", input=ThingCreate, output=Thing),
        ],
        triggers=[
            sdk.trigger(
                "thing_changed",
                "poll",
                signal=Thing,
                about="A thing changed.",
                config=Config,
                polling=sdk.polling(default_seconds=300, min_seconds=30, listing=said),
            )
        ],
    ).manifest


def test_a_listing_is_data_like_all_of_a_manifest():
    manifest = connector()
    [trigger] = manifest.triggers
    assert trigger.polling is not None
    assert trigger.polling.listing is not None
    assert trigger.polling.listing.overlap_seconds == 60
    assert sdk.load_manifest(json.dumps(manifest.to_json())).digest == manifest.digest


@pytest.mark.parametrize(
    ("listing", "problem"),
    [
        ({"operation": "thing.lost"}, "there is no read operation 'thing.lost'"),
        ({"operation": "thing.create"}, "there is no read operation 'thing.create'"),
        ({"moment": None, "since_field": None}, "by `moment` or by `cursor`"),
        ({"cursor": "/c", "cursor_field": "page"}, "by `moment` or by `cursor`"),
        ({"since_field": None}, "has to be `newest_first`"),
        ({"moment": None, "cursor": "/c", "cursor_field": "page"}, "go with `moment`"),
        ({"following": "/next"}, "`following` and `following_field` go together"),
        ({"more": "/more"}, "it goes with `cursor`"),
        ({"since_field": "after"}, "thing.list has no input 'after'"),
        ({"input": {"nothing": 1}}, "thing.list has no input 'nothing'"),
        ({"input": {"project": "{config.nothing}"}}, "is not {config.FIELD}"),
        ({"input": {"project": "a{config.project}"}}, "is not {config.FIELD}"),
        ({"input": {"project": "{input.project}"}}, "is not {config.FIELD}"),
        ({"items": "things"}, "things"),
    ],
)
def test_what_contradicts_itself_is_told(listing: dict[str, Any], problem: str):
    with pytest.raises(sdk.InvalidManifest) as caught:
        connector(**listing)
    assert problem in str(caught.value)
