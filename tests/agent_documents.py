"""Documents of agents, right and wrong, for those who hold them against the published schema."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from interlock import agents
from interlock.kernel import read_written

_ROOT: Final = Path(__file__).parents[1]
_FILE: Final = re.compile(r'```yaml file="[a-z]+\.yaml"\n(.*?)```', re.DOTALL)

FULL: Final[dict[str, Any]] = {
    "contract": "interlock.agent/v1",
    "id": "desk",
    "instructions": "Answer.",
    "model": "openai:gpt-4o-mini",
    "generation": {"params": {"temperature": 0.5, "stop": ["END"]}, "provider_options": {"any": [1]}},
    "context_schema": {"$ref": "registry:customer"},
    "result": {"schema": {"type": "object"}, "max_repairs": 2},
    "memory": {"scope": "session", "capture": "manual"},
    "operations": [
        {
            "name": "look",
            "idempotency": "pure",
            "approval": {"role": "clerk", "expires_after_s": 60},
            "source": {"kind": "mcp", "ref": "calc/look", "options": {"any": 1}},
        }
    ],
    "controls": {
        "max_turns": 5,
        "budgets": {"usd": 0.5},
        "inputs": [{"control": "max_length", "options": {"max": 9}}],
        "operations": [{"control": "read_only", "match": {"idempotency": "pure", "name": ["look"]}}],
    },
    "runtime_defaults": {"conversation": {"turns": 5}},
    "metadata": {"any": True},
}

TYPOS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("$", "instrucions", "Answer."),
    ("$", "contract", "interlock.agent/v2"),
    ("$", "id", "My Desk"),
    ("$", "instructions", "   "),
    ("$", "model", "gpt-4o-mini"),
    ("$", "context_schema", []),
    ("$.generation.params", "temprature", 0.5),
    ("$.generation.params", "temperature", "hot"),
    ("$.result", "max_repairs", 21),
    ("$.result", "schemas", {}),
    ("$.memory", "scope", "world"),
    ("$.operations[0]", "desciption", "Look."),
    ("$.operations[0]", "name", "look up"),
    ("$.operations[0]", "idempotency", "maybe"),
    ("$.operations[0].approval", "expires_after_s", 0),
    ("$.operations[0].source", "reff", "calc/look"),
    ("$.controls", "max_turn", 5),
    ("$.controls", "max_turns", 0),
    ("$.controls.budgets", "usd", -1),
    ("$.controls.inputs[0]", "control", "Max Length"),
    ("$.controls.operations[0].match", "idempotency", "sometimes"),
    ("$.runtime_defaults.conversation", "turns", "all"),
)
"""Where, the member, and what is wrong with it."""


def documented() -> Iterator[dict[str, Any]]:
    """Every spec that the documentation and the examples show."""
    for path in (*sorted((_ROOT / "docs").glob("*.md")), *sorted((_ROOT / "examples").glob("*/*.yaml"))):
        text = path.read_text()
        for each in _FILE.findall(text) if path.suffix == ".md" else [text]:
            found: Any = read_written(each, limits=agents.LIMITS, what="spec").value
            if isinstance(found, dict) and "instructions" in found:
                yield found


def mistaken(where: str, member: str, value: object) -> dict[str, Any]:
    """The whole document, with one member that is wrong."""
    document = copy.deepcopy(FULL)
    place: Any = document
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", where):
        place = place[name] if name else place[int(index)]
    place[member] = value
    return document
