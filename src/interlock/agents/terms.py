"""What all parts of a spec are made of: data that nothing changes once it is there."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, TypeAlias, cast

from pydantic import AfterValidator, Field, PlainSerializer

from interlock import sdk
from interlock.kernel import JsonLimits

LIMITS: Final = JsonLimits(max_bytes=1_000_000, max_depth=64, max_nodes=20_000)
"""How much a spec may hold, however it is written."""


class Frozen(Mapping[str, Any]):
    """A JSON object that cannot be changed. The library's own read-only mapping can be neither copied nor pickled."""

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = {name: frozen(each) for name, each in members.items()}

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return repr(self._members)

    def __deepcopy__(self, memo: object) -> "Frozen":
        return self


def frozen(value: object) -> Any:
    """JSON that cannot be changed: objects are read-only, lists are tuples."""
    if isinstance(value, Mapping):
        return Frozen(cast("Mapping[str, Any]", value))
    if isinstance(value, list | tuple):
        return tuple(frozen(each) for each in cast("list[object]", value))
    return value


def thawed(value: object) -> Any:
    """The same as plain JSON, for whoever writes it or hands it to a library."""
    if isinstance(value, Mapping):
        return {name: thawed(each) for name, each in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [thawed(each) for each in cast("list[object]", value)]
    return value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must say something")
    return text


Object: TypeAlias = Annotated[Mapping[str, Any], AfterValidator(frozen), PlainSerializer(thawed)]
"""A JSON object that cannot be changed."""

Schema: TypeAlias = Annotated[Mapping[str, Any], AfterValidator(frozen), PlainSerializer(thawed)]
"""A JSON Schema (2020-12) of an object."""

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""1 to 63 lower-case letters, digits and `_`, a letter first."""

Called: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
"""A name under which every model accepts a tool: 1 to 64 letters, digits, `_` and `-`, a letter first."""

Reference: TypeAlias = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x20\x7f]+$")]
"""What a source or a registry knows a thing by; no blanks."""

Words: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=200_000, json_schema_extra={"pattern": r"\S"}), AfterValidator(_not_blank)
]
"""A text that says something."""


def may_lack(*names: str) -> Callable[[dict[str, Any]], None]:
    """What makes a schema that of documents, in which these members may be left out: they are filled in when it is read."""

    def relax(schema: dict[str, Any]) -> None:
        schema["required"] = [name for name in schema["required"] if name not in names]

    return relax


class Part(sdk.Part):
    """A part of a spec: frozen data, strict, and without a member that it does not know."""
