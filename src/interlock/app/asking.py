"""What a program asks for, as the rooms take it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from interlock.app.faces import UnknownTarget
from interlock.kernel import JSON, RequestError

if TYPE_CHECKING:  # and late in the functions: a command that only looks capabilities up needs none of them
    from interlock import runs
    from interlock.app.assembly import Parts

MAX_TIMEOUT = 3600
"""Seconds that a call may be given."""


def make_request(
    parts: "Parts",
    capability: str,
    given: Mapping[str, JSON] | None,
    *,
    connection: str | None,
    idempotency_key: str | None,
    target: str | Sequence[str] | None,
    environment: str | None,
    trace_id: str | None,
    sandbox: str | None,
    allowed_operations: Sequence[str] | None,
    parent_run_id: str | None,
    cost: Mapping[str, int] | None,
    extensions: Mapping[str, JSON] | None,
    timeout: float,
    max_attempts: int = 3,
) -> "runs.Request":
    """The arguments of `Interlock.invoke` as a request. Raises RequestError, UnknownTarget."""
    from interlock import runs

    if not 0 < timeout <= MAX_TIMEOUT:  # NaN is not above zero either
        raise RequestError(f"timeout must be above 0 and at most {MAX_TIMEOUT} seconds, not {timeout}")
    return runs.Request(
        capability=capability,
        input={} if given is None else given,
        connection=connection,
        idempotency_key=idempotency_key,
        targets=_targets(parts, target),
        environment=parts.settings.environment if environment is None else environment,
        trace_id=trace_id,
        sandbox=sandbox,
        allowed_operations=None if allowed_operations is None else frozenset(allowed_operations),
        parent_run_id=parent_run_id,
        cost=cost or {},
        extensions=extensions or {},
        timeout=timedelta(seconds=timeout),
        max_attempts=max_attempts,
    )


def _targets(parts: "Parts", target: str | Sequence[str] | None) -> tuple[str, ...]:
    """The acceptable target classes; none: those of the operation. Raises UnknownTarget for one that this node never has."""
    from interlock import plane

    if target is None:
        return ()
    targets = (target,) if isinstance(target, str) else tuple(target)
    wiring = parts.wiring
    known = (wiring.node.target_classes | wiring.offered.classes) - {plane.UNPROVEN}
    unknown = next((each for each in targets if each not in known), None)
    if unknown is not None:
        raise UnknownTarget(unknown, known)
    return targets
