"""The controls that every registry knows. Each says what it has against a thing, and `then` what follows from that."""

import functools
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import AfterValidator, Field

from interlock.agents import addresses
from interlock.agents.operations import Idempotency
from interlock.agents.rulings import ANYWHERE, CALLS, Check, ControlInput, Ruling, allow, block, interrupt
from interlock.agents.terms import Name, Part, thawed
from interlock.kernel import PATTERNS, Detector, canonical


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Callable[[str], bool]:
    """Whether something in a text fits it: by an engine that no text makes slow. Raises ValueError."""
    import jsonschema_rs  # here, so that importing the room stays quick

    rule = {"pattern": pattern}
    try:
        return jsonschema_rs.Draft202012Validator(rule, pattern_options=jsonschema_rs.RegexOptions()).is_valid
    except jsonschema_rs.ValidationError:
        wrong = (
            f"{pattern[:100]!r} is no regular expression, or looks back or ahead, which takes too long of some texts"
        )
        raise ValueError(wrong) from None


def _expression(text: str) -> str:
    _compiled(text)
    return text


def _form(text: str) -> str:
    if text not in PATTERNS:
        raise ValueError(f"must be one of {', '.join(PATTERNS)}")
    return text


def _some(listed: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(listed) <= 200:
        raise ValueError("must name 1 to 200")
    return listed


_SOME: Final = AfterValidator(_some)
Names: TypeAlias = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], _SOME]
Patterns: TypeAlias = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_expression)], ...], _SOME
]
Domains: TypeAlias = Annotated[tuple[Annotated[str, Field(max_length=253, pattern=addresses.DOMAIN)], ...], _SOME]
Forms: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_form)], ...], _SOME]


class Acting(Part):
    """The options of every control here: what follows if it has something against a thing, and whose yes that takes."""

    then: Literal["block", "interrupt"] = "block"
    role: Name | None = None

    def rule(self, objection: str | None) -> Ruling:
        """What it says, if it has that (None: nothing) against a thing."""
        if objection is None:
            return allow()
        return block(objection) if self.then == "block" else interrupt(objection, role=self.role)


class MaxLength(Acting):
    """At most `max` characters of words, or of the JSON of a call's arguments."""

    max: Annotated[int, Field(ge=1, le=10_000_000)]


class RequireContext(Acting):
    """The turn's context has something under each of these keys."""

    keys: Names


class RequireApproval(Part):
    """A person has to say yes, for that reason."""

    reason: Annotated[str, Field(min_length=1, max_length=200)] = "approval_required"
    role: Name | None = None


class Operations(Acting):
    """Names of operations; `*` stands for any letters."""

    names: Names


class Texts(Acting):
    """Regular expressions, held against words, or against all texts of a call's `arguments` (their names; None: all)."""

    patterns: Patterns
    arguments: Names | None = None


class Sensitive(Acting):
    """What looks like a secret (`api_keys`, `aws_keys`, `bearer`, `jwts`, `private_keys`) or like personal data (`cards`,
    `emails`)."""

    forms: Forms = tuple(PATTERNS)


class Web(Acting):
    """The hosts to which addresses may lead; `*.example.com` is all below it. An argument of `arguments` is one as a whole."""

    domains: Domains
    arguments: Names = ()


class ReadOnly(Acting):
    """Nothing to say: only what changes nothing is done."""


def max_length(given: ControlInput) -> Ruling:
    """Keeps long texts and arguments out."""
    options = cast("MaxLength", given.options)
    size = len(given.text) if given.text is not None else len(canonical(thawed(given.arguments)).decode())
    return options.rule(
        None if size <= options.max else f"it has {size} characters; at most {options.max} are let through"
    )


def require_context(given: ControlInput) -> Ruling:
    """Wants to know more of where the turn is taken."""
    options = cast("RequireContext", given.options)
    lacking = [key for key in options.keys if given.surroundings.context.get(key) is None]
    return options.rule(f"the context lacks {', '.join(lacking)}" if lacking else None)


def require_approval(given: ControlInput) -> Ruling:
    """Has a person asked, always."""
    options = cast("RequireApproval", given.options)
    return interrupt(options.reason, role=options.role)


def allow_operations(given: ControlInput) -> Ruling:
    """Only these."""
    options = cast("Operations", given.options)
    known = _fits(_name(given), options.names)
    return options.rule(None if known else f"{_name(given)} is not among the operations that are allowed")


def deny_operations(given: ControlInput) -> Ruling:
    """None of these."""
    options = cast("Operations", given.options)
    return options.rule(f"{_name(given)} is not allowed" if _fits(_name(given), options.names) else None)


def deny_patterns(given: ControlInput) -> Ruling:
    """No text with such a thing in it."""
    options = cast("Texts", given.options)
    for where, text in _texts(given, options.arguments):
        for each in options.patterns:
            if _compiled(each)(text):
                return options.rule(f"{where} has what is not allowed: {each}")
    return allow()


def allow_patterns(given: ControlInput) -> Ruling:
    """Only texts of which one of the patterns fits the whole."""
    options = cast("Texts", given.options)
    allowed = [_compiled(f"^(?:{each})$") for each in options.patterns]
    found = [where for where, text in _texts(given, options.arguments) if not any(fits(text) for fits in allowed)]
    return options.rule(f"{found[0]} fits none of the patterns that are allowed" if found else None)


def no_sensitive_data(given: ControlInput) -> Ruling:
    """No secrets and no personal data, as far as they can be told by their form."""
    options = cast("Sensitive", given.options)
    detector = Detector(options.forms)
    for where, text in _texts(given):
        for name in detector.named(text):
            return options.rule(f"{where} has what looks like {name.replace('_', ' ')}")
    return allow()


def allow_domains(given: ControlInput) -> Ruling:
    """No address that leads elsewhere."""
    options = cast("Web", given.options)
    for where, text in _texts(given):
        whole = where.partition(".")[0].partition("[")[0] in options.arguments
        for address in addresses.unlisted(text, options.domains, whole=whole):
            return options.rule(f"{where} has the address {address}, whose host is not among those that are allowed")
    return allow()


def read_only(given: ControlInput) -> Ruling:
    """Nothing that changes anything."""
    options = cast("ReadOnly", given.options)
    operation = given.operation
    changes = operation is None or operation.idempotency is not Idempotency.PURE
    return options.rule(f"{_name(given)} may change something, and only what is pure is allowed" if changes else None)


def _name(given: ControlInput) -> str:
    return "" if given.operation is None else given.operation.name


def _fits(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, each) for each in globs)


def _texts(given: ControlInput, names: tuple[str, ...] | None = None) -> Iterator[tuple[str, str]]:
    """All texts with their places: keys as well as values, for a model writes both."""
    if given.text is not None:
        yield f"the {given.boundary}", given.text
        if given.result is not None:
            yield from _within("result", given.result)
        return
    for name, value in given.arguments.items():
        if names is None:
            yield "an argument's name", name
        if names is None or name in names:
            yield from _within(name, value)


def _within(place: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, each in cast("Mapping[str, Any]", value).items():
            yield place, name
            yield from _within(f"{place}.{name}"[:200], each)
    elif isinstance(value, tuple | list):
        for index, each in enumerate(cast("list[object]", value)):
            yield from _within(f"{place}[{index}]"[:200], each)


BUILT_IN: Final = tuple(
    Check(name=function.__name__, function=function, options=options, boundaries=boundaries, instant=True)
    for function, options, boundaries in (
        (max_length, MaxLength, ANYWHERE),
        (require_context, RequireContext, ANYWHERE),
        (require_approval, RequireApproval, ANYWHERE),
        (allow_operations, Operations, CALLS),
        (deny_operations, Operations, CALLS),
        (allow_patterns, Texts, ANYWHERE),
        (deny_patterns, Texts, ANYWHERE),
        (no_sensitive_data, Sensitive, ANYWHERE),
        (allow_domains, Web, ANYWHERE),
        (read_only, ReadOnly, CALLS),
    )
)
