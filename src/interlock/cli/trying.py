"""How often the work of a trigger is tried: as it is asked for, and as it is shown."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from interlock import sdk

HELP: Final = (
    "How often its work is tried: JSON with max_attempts, base_seconds and cap_seconds of the pauses, deadline_seconds"
)


def parse(text: str, *, option: str) -> "sdk.Retries":
    """What somebody asks for. Raises Usage."""
    from pydantic import ValidationError

    from interlock import sdk
    from interlock.cli.errors import Usage

    try:
        return sdk.Retries.model_validate_json(text)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)[0]
        place = f"{'.'.join(map(str, told['loc']))}: " if told["loc"] else ""
        raise Usage(f"{option}: {place}{told['msg']}", next_step='Write JSON, such as {"max_attempts":3}.') from None


def words(retry: "sdk.Retries") -> str:
    """For people."""
    if retry.max_attempts == 1:
        tried = "once"
    else:
        tried = f"{retry.max_attempts} times, {retry.base_seconds:g} s to {retry.cap_seconds:g} s apart"
    return tried if retry.deadline_seconds is None else f"{tried}; begun within {retry.deadline_seconds:g} s"
