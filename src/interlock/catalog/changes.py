"""What another version of a provider would do with the credentials that are connected under it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from interlock import sdk
from interlock.kernel import JSON, canonical

_WORDS: Final[dict[str, Any]] = {
    "display_name": True,
    "fields": {"__all__": {"title", "description", "example"}},
}
"""What people read of a profile, and nothing goes by."""

_LONGEST: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A place in a provider, and what stands there before and after, as it is shown; None: nothing."""

    path: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        before, after = (_shown(each) for each in (self.before, self.after))
        return f"{self.path} was {before}, is {after}"


def changes(before: sdk.Provider, after: sdk.Provider, profile_id: str) -> list[Change]:
    """What differs in where the profile's credentials go and how they are shown: the profile but for its words, and the headers
    that go with them."""
    old, new = (dict(_leaves(_sent(each, profile_id), "")) for each in (before, after))
    return [
        Change(path=path, before=old.get(path), after=new.get(path))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def _sent(provider: sdk.Provider, profile_id: str) -> dict[str, Any]:
    profiles = [each for each in provider.auth if each.profile_id == profile_id]
    sent = {each.profile_id: each.model_dump(mode="json", exclude=_WORDS, exclude_defaults=True) for each in profiles}
    return {**({"headers": provider.headers} if provider.headers else {}), **sent}


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Each value in its place. A null is one, too, and so is what is empty: by either a provider leaves out what is usual."""
    if isinstance(value, dict) and value:
        for name, each in cast("dict[str, object]", value).items():
            yield from _leaves(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for index, each in enumerate(cast("list[object]", value)):
            yield from _leaves(each, f"{path}[{index}]")
    elif path:
        yield path, repr(value) if isinstance(value, str) else canonical(cast("JSON", value)).decode()


def _shown(text: str | None) -> str:
    if text is None:
        return "nothing"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
