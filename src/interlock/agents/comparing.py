"""Two specs side by side: what of one is not so in the other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from interlock.agents.spec import Spec
from interlock.kernel import JSON

What: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where two specs differ. Operations are told by their names, wherever they stand."""

    path: str
    what: What
    before: JSON = None
    after: JSON = None

    def to_json(self) -> dict[str, JSON]:
        """The difference for programs."""
        return {"path": self.path, "what": self.what, "before": self.before, "after": self.after}


def compare(before: Spec, after: Spec) -> list[Difference]:
    """All differences, in the order of their places; none if and only if both have one fingerprint."""
    return list(_between("", before.to_json(), after.to_json()))


def _between(path: str, before: JSON, after: JSON) -> Iterator[Difference]:
    if path == "operations":
        yield from _operations(cast("list[dict[str, Any]]", before), cast("list[dict[str, Any]]", after))
    elif isinstance(before, dict) and isinstance(after, dict):
        yield from _members(path, cast("dict[str, Any]", before), cast("dict[str, Any]", after))
    elif before != after or type(before) is not type(after):
        yield Difference(path=path, what="changed", before=before, after=after)


def _members(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in (*before, *(each for each in after if each not in before)):
        place = f"{path}.{name}" if path else name
        if name not in after:
            yield Difference(path=place, what="removed", before=before[name])
        elif name not in before:
            yield Difference(path=place, what="added", after=after[name])
        else:
            yield from _between(place, before[name], after[name])


def _operations(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    then, now = ({f"operations[{each['name']}]": each for each in listed} for listed in (before, after))
    yield from _members("", then, now)
    if then.keys() == now.keys() and list(then) != list(now):
        order = ([each["name"] for each in listed] for listed in (before, after))
        yield Difference(path="operations", what="changed", before=next(order), after=next(order))
