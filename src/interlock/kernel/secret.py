"""Secrets as a type: a value that does not print, does not serialise and does not travel by accident."""

import hmac
from typing import Never


class Secret:
    """A secret text. Only `reveal()` gives it out, so every place where that happens can be found by its name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself. Call it only where the value leaves for its own service or goes under encryption."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # pyright: ignore[reportAssignmentType] - a hash would be a fingerprint of the secret

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> Never:
        raise TypeError("a Secret cannot be pickled or copied")

    def __copy__(self) -> Never:
        raise TypeError("a Secret cannot be pickled or copied")

    def __deepcopy__(self, memo: object) -> Never:
        raise TypeError("a Secret cannot be pickled or copied")
