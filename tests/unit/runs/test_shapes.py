"""The published shapes of packet and trust file are those of the files that are written. `fix_app` holds every packet of the
integration tests to them, too."""

import json
from typing import Any

import pytest

import shapes
from fix_review import Signer, approved_with_edit, completed, held, refused, retried_and_failed, still_running
from interlock import runs


def test_a_trust_file():
    text = runs.Trust(Signer().public_keys()).dump()
    assert not shapes.flaws("trust", text)
    assert runs.Trust.parse(text).keys == Signer().public_keys()
    assert shapes.flaws("trust", b'{"contract":"interlock.trust/v1","keys":[]}')


def test_packets():
    stories = (
        completed(),
        approved_with_edit(),
        held(),
        refused(runs.State.DENIED),
        retried_and_failed(),
        still_running(),
    )
    for story in stories:
        assert not shapes.flaws("packet", story.packet())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("records", "run", "state"), "done"),
        (("records", "run", "more"), 1),
        (("records", "sends", 0, "intent_digest"), "sha256:0"),
        (("events", 0, "body", "prev"), None),
        (("seal", "signature"), None),
        (("contract",), "interlock.packet/v2"),
    ],
)
def test_what_no_packet_has(path: tuple[str | int, ...], value: object):
    packet: Any = json.loads(completed().packet())
    place = packet
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert shapes.flaws("packet", json.dumps(packet).encode())
