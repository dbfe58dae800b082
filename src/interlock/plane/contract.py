"""What every contract of the plane shares: frozen, strict, closed, with one canonical text and one digest."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Self, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer, StringConstraints, ValidationError
from pydantic_core import InitErrorDetails

from interlock.kernel import JSON, canonical, digest_bytes, to_rfc3339


def _moment(value: datetime) -> str:
    return to_rfc3339(value)


Moment = Annotated[AwareDatetime, PlainSerializer(_moment, return_type=str, when_used="json")]
"""An aware moment, written as RFC 3339 in UTC with microseconds."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A short printable identifier."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""`sha256:<hex>`."""

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32,128}$")]
"""16 to 64 bytes in hexadecimal."""


class Contract(BaseModel):
    """A versioned value that crosses the plane's border. Unknown fields and silent conversions are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As pydantic has it. A text whose value has no canonical form is refused, too: nobody could hash it, sign it or
        keep it (an integer beyond ±(2⁵³−1), say)."""
        value = super().model_validate_json(json_data, **options)
        try:
            assert value.canonical
        except ValueError as error:
            flaw = InitErrorDetails(type="value_error", ctx={"error": error}, input=None)
            raise ValidationError.from_exception_data(cls.__name__, [flaw]) from error
        return value

    def record(self) -> dict[str, JSON]:
        """The value as JSON, as it is stored and hashed."""
        return self.model_dump(mode="json")

    @cached_property
    def canonical(self) -> str:
        """The RFC 8785 text of `record()`."""
        return canonical(self.record()).decode()

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over `canonical`."""
        return digest_bytes(self.canonical.encode())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A changed copy, validated like a new value; pydantic's own copy would skip that and keep the old digest."""
        del deep  # the values are immutable
        fields = {name: cast("object", getattr(self, name)) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **(update or {})})


def flaws(error: ValidationError) -> str:
    """What is wrong with a value, in words and without the value."""
    return "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors(include_url=False))
