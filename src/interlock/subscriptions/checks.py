"""Whether what somebody wants to subscribe to can work. Pure."""

import difflib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from interlock import plane
from interlock.kernel import is_id
from interlock.subscriptions.errors import InvalidSubscription
from interlock.subscriptions.model import MEANT, TYPES, Wish

MAX_URL: Final = 2000
MAX_PATTERNS: Final = 50
_LONGEST: Final = 200
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def checked(wish: Wish) -> Wish:
    """The wish, with words for several types spelled out. Raises InvalidSubscription."""
    if problems := list(_problems(wish)):
        raise InvalidSubscription(problems)
    types = [one for each in wish.types for one in MEANT.get(each, (each,))]
    return Wish(
        types=tuple(dict.fromkeys(types)),
        capabilities=tuple(dict.fromkeys(wish.capabilities)),
        connections=tuple(dict.fromkeys(wish.connections)),
    )


def check_url(url: str) -> None:
    """Raises InvalidSubscription for an address that messages cannot go to. Whether they may is looked at with each of them."""
    if len(url) > MAX_URL:
        raise InvalidSubscription([f"the address has more than {MAX_URL} characters"])
    try:
        found = plane.parse_url(url)
    except ValueError as error:
        raise InvalidSubscription([str(error)]) from error
    if found.scheme == "http" and found.host not in _HERE:
        raise InvalidSubscription(["events go to an https address; http is for this machine alone"])


def _problems(wish: Wish) -> Iterator[str]:
    if not wish.types:
        yield "name at least one type of event; `*` is all of them"
    named = (("types", wish.types), ("capabilities", wish.capabilities), ("connections", wish.connections))
    for name, values in named:
        if len(values) > MAX_PATTERNS:
            yield f"there are {len(values)} {name}; the most is {MAX_PATTERNS}"
        if any(not 0 < len(each) <= _LONGEST or not each.isprintable() for each in values):
            yield f"each of the {name} has 1 to {_LONGEST} printable characters"
    yield from (_unknown(each) for each in wish.types[:MAX_PATTERNS] if each not in MEANT and not _meets(each))
    for each in wish.connections[:MAX_PATTERNS]:
        if not is_id(each, "con"):
            yield f"{each[:60]!r} is no connection id"


def _meets(pattern: str) -> bool:
    return any(fnmatchcase(each, pattern.replace("[", "[[]")) for each in TYPES)


def _unknown(pattern: str) -> str:
    shown, known = pattern[:60], sorted([*TYPES, *MEANT])
    near: Sequence[str] = difflib.get_close_matches(shown, known, n=1)
    return f"no event is of the type {shown!r}" + (f"; did you mean {near[0]!r}?" if near else "")
