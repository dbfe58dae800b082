"""What an entry says, taken member by member: what nobody takes is told."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from interlock import sdk
from interlock.catalog.importing.report import Refused

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER: Final = re.compile(r"[^a-z0-9]+")


class Said:
    """The members of a mapping from outside. Raises Refused where one is not what it should be."""

    def __init__(self, value: object, place: str = "entry") -> None:
        if not isinstance(value, Mapping):
            raise Refused(f"{place}: a mapping is expected")
        self._left = dict(cast("Mapping[str, Any]", value))
        self._place = place

    @property
    def left(self) -> list[str]:
        """The members that nobody has taken."""
        return sorted(self._left)

    def drop(self, *names: str) -> None:
        """Leave members alone, knowingly."""
        for name in names:
            self._left.pop(name, None)

    def has(self, name: str) -> bool:
        return name in self._left

    def peek(self, name: str) -> Any:
        """The member, without taking it."""
        return self._left.get(name)

    def any(self, name: str) -> Any:
        """The member, None if there is none."""
        return self._left.pop(name, None)

    def text(self, name: str, default: str = "") -> str:
        """A text; a number is one, too."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        return as_text(value, f"{self._place}.{name}")

    def flag(self, name: str) -> bool:
        value = self._left.pop(name, None)
        if not isinstance(value, bool | None):
            raise Refused(f"{self._place}.{name}: true or false is expected")
        return bool(value)

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._left.pop(name, None)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Refused(f"{self._place}.{name}: a mapping is expected")
        return cast("dict[str, Any]", value)

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of texts."""
        return {key: as_text(value, f"{self._place}.{name}.{key}") for key, value in self.mapping(name).items()}

    def items(self, name: str) -> list[Any]:
        value = self._left.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list):
            raise Refused(f"{self._place}.{name}: a list is expected")
        return cast("list[Any]", value)


def as_text(value: object, place: str) -> str:
    """A text, or what stands for one in YAML. Raises Refused."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Refused(f"{place}: a text is expected")


def our_name(text: str, *, most: int = 40) -> str:
    """A name of ours: `apiKey` and `api-key` become `api_key`. Raises Refused for what has no letters."""
    name = _OTHER.sub("_", _CAMEL.sub("_", text).lower()).strip("_")[:most]
    if not name:
        raise Refused(f"name: {text[:40]!r} cannot be written as one of ours")
    return name if name[0].isalpha() else f"n_{name}"[:most]


def provider_name(text: str) -> str:
    """As `our_name`, for a provider's id."""
    return our_name(text, most=54)


def explained(error: sdk.InvalidProvider) -> str:
    """Why a provider of ours could not be made of what an entry says."""
    first = error.problems[0]
    return f"{first.path}: {first.problem}"
