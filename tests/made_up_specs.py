"""Specs of agents as somebody could write them, with all that is odd and right in them."""

from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from interlock import agents

_Many: TypeAlias = st.SearchStrategy[Any]


def _mapping(needed: dict[str, _Many], **optional: _Many) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(needed, optional=optional)


def _few(each: _Many, key: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    def called(one: dict[str, Any]) -> str:
        return one[key]

    return st.lists(each, max_size=3, unique_by=called)


def _with_match(use: dict[str, Any], match: dict[str, Any]) -> dict[str, Any]:
    return {**use, "match": match}


_PLAIN: Final = st.text(st.characters(blacklist_categories=["Cs", "Cc"]) | st.sampled_from("\n\t"), max_size=20)
_SAID: Final = _PLAIN.filter(str.strip)
_NAMES: Final = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
_NUMBERS: Final = (
    st.floats(-1e15, 1e15) | st.integers(-(2**53) + 1, 2**53 - 1) | st.sampled_from([1e-7, 1e22, 1e300, 5e-324])
)
_TRICKY: Final = st.sampled_from(
    ["no", "1e5", "~", "2026-01-01", "0x1", "- a", "#", "a: b", " ", "|", "&a", "*a", "!!b"]
)
_VALUES: Final[_Many] = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _PLAIN | _TRICKY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_PLAIN | _TRICKY, inner, max_size=3),
    max_leaves=8,
)
_OBJECTS: Final = st.dictionaries(_PLAIN, _VALUES, max_size=3)
_PROPERTY: Final = _mapping({}, default=_VALUES, enum=st.lists(_VALUES, min_size=1, max_size=3))
_SCHEMAS: Final = _mapping(
    {"type": st.just("object")}, properties=st.dictionaries(_NAMES, _PROPERTY, max_size=2), description=_PLAIN
)
_CLASSES: Final = st.sampled_from(agents.Idempotency)
_OPERATIONS: Final = _mapping(
    {
        "name": st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,10}", fullmatch=True),
        "idempotency": _CLASSES,
        "approval": _mapping({}, message=_PLAIN, when=_NAMES, expires_after_s=st.integers(1, 100)),
        "source": _mapping({"kind": _NAMES, "ref": st.just("a.b/c")}, options=_OBJECTS),
    },
    description=_PLAIN,
    input=_SCHEMAS,
    output=_SCHEMAS,
    metadata=_OBJECTS,
)
_USES: Final = _mapping({"control": _NAMES}, options=_OBJECTS, metadata=_OBJECTS)
_MATCHES: Final = _mapping(
    {},
    name=_SAID | st.lists(_SAID, max_size=2),
    kind=_NAMES,
    idempotency=_CLASSES | st.lists(_CLASSES, max_size=2),
    metadata=_OBJECTS,
)
_CONTROLS: Final = _mapping(
    {},
    inputs=_few(_USES, "control"),
    operations=_few(st.builds(_with_match, _USES, _MATCHES), "control"),
    timeout_s=st.floats(1e-3, 86_400),
    budgets=_mapping({}, usd=st.floats(1e-6, 1e6), tokens=st.integers(1, 10**9)),
)
_PARAMS: Final = _mapping(
    {}, temperature=st.floats(0, 2), stop=st.lists(_SAID, max_size=2), parallel_operations=st.booleans()
)

_OPTIONS: Final = _mapping({}, metadata=_OBJECTS, user=_SAID)
"""Such as every provider takes that is known here."""

SPECS: Final = _mapping(
    {"id": _NAMES, "instructions": _SAID},
    model=st.just("a:b/c:d"),
    generation=_mapping({}, params=_PARAMS, provider_options=_OPTIONS, extra=_OBJECTS),
    context_schema=_SCHEMAS,
    result=_mapping({"schema": _SCHEMAS}, max_repairs=st.integers(0, 20), metadata=_OBJECTS),
    memory=_mapping({}, scope=st.sampled_from(["agent", "session"]), max_entries=st.integers(1, 9)),
    operations=_few(_OPERATIONS, "name"),
    controls=_CONTROLS,
    metadata=_OBJECTS,
)
"""Members of documents, of which each is a spec."""
