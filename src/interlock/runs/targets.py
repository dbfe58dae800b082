"""Where a call may be carried out: on targets of the operation's own classes, or of those that the caller names."""

from dataclasses import replace
from typing import Final

from interlock import plane, sdk
from interlock.kernel import RequestError
from interlock.runs.request import Request

_OURS: Final = frozenset({plane.LOCAL_HTTP, plane.LOCAL_SCRIPT, *plane.CLASSES})
"""The classes of which we know what they carry; what those of installed packages carry, their lanes say."""


class TargetRefused(RequestError):
    """The caller names a class of targets on which the operation must not run. Nothing was begun."""

    code = "target_refused"
    next_step = "Name a target class that the message lists, or none."


def targeted(request: Request, operation: sdk.Operation) -> Request:
    """The request with its target classes, best first. Raises TargetRefused for one on which the operation must not run."""
    if operation.command is not None:
        own = operation.command.targets
        strange = next((each for each in request.targets if each not in own), None)
    else:
        own = (plane.LOCAL_HTTP,) if operation.script is None else (plane.LOCAL_SCRIPT,)
        strange = next((each for each in request.targets if each in _OURS and each not in own), None)
    if strange is not None:
        raise TargetRefused(f"{operation.operation_id} does not run on {strange!r}; it runs on: {', '.join(own)}")
    return request if request.targets else replace(request, targets=own)
