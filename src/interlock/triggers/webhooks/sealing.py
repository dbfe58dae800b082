"""A route's secrets under its tenant's key: the present one, and while it is replaced the former."""

from collections.abc import Sequence
from typing import cast

import orjson

from interlock import connections
from interlock.kernel import Secret, canonical
from interlock.triggers.webhooks.model import Route


def binding(route: Route) -> bytes:
    """The associated data that ties the sealed secrets to their row."""
    return canonical(
        {
            "contract": "interlock.route-secret/v1",
            "tenant_id": route.tenant_id,
            "route_id": route.route_id,
            "version": route.secret_version,
        }
    )


def pack(secrets: Sequence[Secret]) -> bytes:
    """The plaintext of a route's secrets. It goes nowhere but into the cipher."""
    return canonical([each.reveal() for each in secrets])


def unpack(plaintext: bytes) -> list[Secret]:
    """The inverse of `pack`. Raises CredentialDamaged, from nothing, so that no traceback holds the plaintext."""
    try:
        values = cast("list[object]", orjson.loads(plaintext))
    except orjson.JSONDecodeError:
        values = []
    held = [Secret(each) for each in values if isinstance(each, str)]
    if not held:
        raise connections.CredentialDamaged("a route's sealed secrets are not what was sealed")
    return held
