"""What comes of a step of Pydantic AI's, as it writes that down."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from interlock import agents
from interlock.kernel import JSON

try:
    import pydantic_core
    from pydantic_ai import exceptions as foreign
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'Pydantic AI needs a library: pip install "interlock[inference]"', name=missing.name
    ) from missing

_OVER: Final = r"Timed out after \S+ seconds\."
"""What Pydantic AI has a model read of a tool whose time was over."""


def told(output: JSON) -> str:
    """What came of a call, as Pydantic AI writes it down."""
    return json.dumps({"kind": "tool_content_result", "result": output})


def was_cut_off(came: object) -> bool:
    """Whether Pydantic AI has stopped a tool: it lets the model ask for the call again, as if it had not been done."""
    if not isinstance(came, Mapping):
        return False
    result = cast("Mapping[str, object]", came)
    return result.get("kind") == "model_retry" and re.fullmatch(_OVER, str(result.get("message"))) is not None


async def found(find: Callable[..., Any], arguments: Mapping[str, Any]) -> agents.Found:
    """What a function that finds out says of a call with these arguments."""
    said = find(**arguments)
    if inspect.isawaitable(said):
        said = await said
    if isinstance(said, agents.Happened | agents.NotHappened | agents.Unclear):
        return said
    return agents.Happened(output=cast("JSON", pydantic_core.to_jsonable_python(said)))


def failed(step: agents.harness.Step, raised: str) -> Exception:
    """What a step raises again, as far as that is known: of a model so that its stand-ins are asked as before."""
    said = f"{step.name} raised {raised}, and is not done again"
    if step.kind != "model":
        return agents.TurnFailed(said)
    kind = getattr(foreign, raised, None)
    if not (isinstance(kind, type) and issubclass(kind, foreign.ModelAPIError)):
        kind = foreign.ModelAPIError
    try:
        return kind(step.name, said)
    except TypeError:  # one that takes more
        return foreign.ModelAPIError(step.name, said)
