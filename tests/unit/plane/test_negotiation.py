"""What is asked of a target is compared with what it announces."""

from datetime import timedelta
from typing import Any

import pytest

from interlock import plane, testing


def target(**change: Any) -> plane.TargetDescriptor:
    now = testing.ManualClock().now()
    attestation = plane.Attestation(
        target_class="remote",
        properties=(),
        attested_by="key-a",
        attested_at=now,
        expires_at=now + timedelta(minutes=5),
    )
    defaults: dict[str, Any] = {
        "target_id": "box",
        "lane_id": "process",
        "attestation": attestation,
        "health": plane.Health.READY,
        "version": "1.4.2",
        "features": ("memory", "pty"),
        "schemas": ("interlock.process-intent/v1",),
    }
    return plane.TargetDescriptor(**defaults | change)


@pytest.mark.parametrize(
    ("asked", "announced", "code"),
    [
        ({}, {}, None),
        ({}, {"health": plane.Health.DRAINING}, "target_unhealthy"),
        ({"version": "1.4.2"}, {}, None),
        ({"version": "1.0.9"}, {}, None),
        ({"version": "1.4.3"}, {}, "target_version"),
        ({"version": "2.0.0"}, {}, "target_version"),
        ({"version": "1.0.0"}, {"version": "2.0.0"}, "target_version"),
        ({"version": "0.3.1"}, {"version": "0.3.10"}, None),
        ({"version": "0.3.1"}, {"version": "0.4.0"}, "target_version"),
        ({"features": ("pty",)}, {}, None),
        ({"features": ("pty", "gpu")}, {}, "target_features"),
        ({"properties": ("reads-confined",)}, {}, "target_properties"),
        ({"schemas": ("interlock.process-intent/v1",)}, {}, None),
        ({"schemas": ("interlock.process-intent/v2",)}, {}, "target_schemas"),
    ],
)
def test_a_target_does_or_says_why_not(asked: dict[str, Any], announced: dict[str, Any], code: str | None):
    failure = plane.unfit(target(**announced), plane.TargetRequirement(**asked))
    assert (None if failure is None else failure.code) == code


@pytest.mark.parametrize("version", ["1", "1.2", "01.2.3", "1.2.3-rc", "x"])
def test_a_version_is_three_numbers(version: str):
    with pytest.raises(ValueError):
        target(version=version)
