"""Settling a write whose outcome is unknown, by reading. Without I/O: a generator like `program`."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias, cast

from interlock.kernel import JSON, canonical, from_rfc3339, read_json
from interlock.sdk import answers, pointer, requests, template
from interlock.sdk.errors import OperationFailed, UnexpectedAnswer
from interlock.sdk.functions import load_function
from interlock.sdk.manifest import Operation
from interlock.sdk.pointer import Missing
from interlock.sdk.program import next_query
from interlock.sdk.projection import Source, project
from interlock.sdk.rules import Match, Reconcile
from interlock.sdk.wire import Facts, HttpRequest, HttpResponse, Purpose, as_pairs

CLOCK_MARGIN: Final = timedelta(seconds=2)
"""Date headers and creation times are cut to whole seconds, and an answer takes a while to arrive."""

_NOTHING: Final[tuple[JSON, ...]] = (None, "", [])


class Verdict(StrEnum):
    """What reading showed: the write happened, it did not, or reading cannot tell."""

    HAPPENED = "happened"
    ABSENT = "absent"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """The verdict, why, and how many records matched.

    `output` is what could be read of the operation's output (the record may have less than the write's answer had);
    `failure` is what stopped the reading, if something did: it may be tried again when its `retry` says so.
    """

    verdict: Verdict
    reason: str
    output: JSON = None
    matches: int = 0
    failure: OperationFailed | None = None


Reconciliation: TypeAlias = Generator[HttpRequest, HttpResponse, Reconciled]


def reconciliation(operation: Operation, input: Mapping[str, JSON], facts: Facts) -> Reconciliation:  # noqa: A002
    """Find out whether a write happened. It only reads, and a failing read is a verdict (`unclear`), never an error.

    Raises ValueError if the operation declares no way.
    """
    rule = operation.reconcile
    if rule is None:
        raise ValueError(f"{operation.operation_id} declares no way to reconcile")
    if rule.function is not None:
        settle = load_function(rule.function)
        return (yield from cast("Reconciliation", settle(operation, input, facts)))
    if facts.subject is None and any("{subject}" in str(match.value) for match in rule.match.values()):
        return _unclear("the connection's account at the service is not known, so its records cannot be told apart")
    value = requests.with_defaults(operation.input_schema, input)
    request = _request(operation, rule, value, facts)
    if rule.items is not None:
        return (yield from _among_many(operation, rule, value, facts, request))
    response = yield request
    try:
        record = _read(operation, rule, response, facts)
    except OperationFailed as error:
        return _unclear(f"the service could not be read: {error.message}", failure=error)
    matches = [] if isinstance(record, Missing) or not _matches(rule, record, value, facts) else [record]
    return _verdict(operation, rule, matches, input, facts)


def _among_many(
    operation: Operation, rule: Reconcile, value: Mapping[str, JSON], facts: Facts, request: HttpRequest
) -> Reconciliation:
    oldest = facts.started_at - timedelta(seconds=rule.skew_seconds)
    found: list[JSON] = []
    doubtful = 0
    for _ in range(rule.max_pages):
        response = yield request
        try:
            body = _read(operation, rule, response, facts)
        except OperationFailed as error:
            return _unclear(f"the service could not be read: {error.message}", failure=error)
        listed = pointer.get(None if isinstance(body, Missing) else body, rule.items or "")
        if isinstance(body, Missing):
            listed = []
        if isinstance(listed, str) or not isinstance(listed, Sequence):
            return _unclear(f"the answer has no list at {rule.items!r}")
        dated = [(record, _moment(rule, record)) for record in cast("Sequence[JSON]", listed)]
        surely_ours = _not_before(rule, facts, response)
        for record, moment in dated:
            if (moment is None or moment >= oldest) and _matches(rule, record, value, facts):
                if moment is None or moment >= surely_ours:
                    found.append(record)
                else:
                    doubtful += 1
        passed = rule.newest_first and any(moment is not None and moment < oldest for _, moment in dated)
        query = next_query(response)
        if passed or query is None or query == request.query:
            if doubtful and not found:
                return _unclear("an equal record may be older than this call", matches=doubtful)
            return _verdict(operation, rule, found, value, facts)
        request = replace(request, query=query)
    return _unclear(f"there are more than {rule.max_pages} pages to read", matches=len(found))


def _not_before(rule: Reconcile, facts: Facts, response: HttpResponse) -> datetime:
    """From which creation time on, by the service's clock, a record is surely ours.

    The answer's own Date header tells how the two clocks differ, so that an equal record made shortly before is not taken
    for ours. What lies between this and the declared skew may be ours (the run may have begun on another machine): then
    a person decides. Without a Date, the skew is all there is.
    """
    theirs, ours = answers.date_of(response), response.received_at
    if theirs is None or ours is None:
        return facts.started_at - timedelta(seconds=rule.skew_seconds)
    return facts.started_at + (theirs - ours) - CLOCK_MARGIN


def _request(operation: Operation, rule: Reconcile, value: Mapping[str, JSON], facts: Facts) -> HttpRequest:
    rendered = {name: template.render(part, value, facts) for name, part in rule.query.items()}
    return HttpRequest(
        method="GET",
        path=template.path_of(rule.path or "", operation.input_schema, value),
        query=tuple((name, template.text_of(part)) for name, part in rendered.items() if not isinstance(part, Missing)),
        headers=as_pairs(operation.http.headers if operation.http is not None else {}),
        purpose=Purpose.RECONCILE,
    )


def _read(operation: Operation, rule: Reconcile, response: HttpResponse, facts: Facts) -> JSON | Missing:
    """The answer's JSON, or MISSING where its status proves absence. Raises OperationFailed."""
    if response.status in rule.absent_status:
        return pointer.MISSING
    if response.status != 200:
        raise answers.failure(operation, response, facts, effect="unknown")
    try:
        return read_json(response.body)
    except ValueError as error:
        raise UnexpectedAnswer("the service's answer is not JSON", effect="unknown") from error


def _verdict(
    operation: Operation,
    rule: Reconcile,
    matches: Sequence[JSON],
    input: Mapping[str, JSON],  # noqa: A002
    facts: Facts,
) -> Reconciled:
    if len(matches) > 1:
        return _unclear(f"{len(matches)} records match", matches=len(matches))
    if rule.gone == bool(matches):
        reason = "what was to be deleted is still there" if rule.gone else "no record matches what was meant"
        return Reconciled(verdict=Verdict.ABSENT, reason=reason, matches=len(matches))
    source = Source(body=matches[0] if matches else None, input=input, subject=facts.subject, overrides=rule.output)
    try:
        output = project(operation.output_schema, source, effect="happened")
    except UnexpectedAnswer:
        output = None  # the record proves the effect even if it cannot be kept
    reason = "it is no longer there" if rule.gone else "one record matches what was meant"
    return Reconciled(verdict=Verdict.HAPPENED, reason=reason, output=output, matches=len(matches))


def _unclear(reason: str, *, matches: int = 0, failure: OperationFailed | None = None) -> Reconciled:
    return Reconciled(verdict=Verdict.UNCLEAR, reason=reason, matches=matches, failure=failure)


def _moment(rule: Reconcile, record: JSON) -> datetime | None:
    text = pointer.get(record, rule.since) if rule.since is not None else None
    try:
        return from_rfc3339(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _matches(rule: Reconcile, record: JSON, value: Mapping[str, JSON], facts: Facts) -> bool:
    return all(
        _holds(match, pointer.get(record, place), template.render(match.value, value, facts))
        for place, match in rule.match.items()
    )


def _holds(match: Match, theirs: JSON | Missing, ours: JSON | Missing) -> bool:
    if isinstance(ours, Missing) and match.optional:
        return True
    nothing_there = isinstance(theirs, Missing) or theirs in _NOTHING
    if isinstance(ours, Missing) or (match.op == "eq" and ours in _NOTHING):
        return nothing_there  # what was not asked for must not be there
    if isinstance(theirs, Missing):
        return False
    if match.op == "eq":
        return _plain(ours) == _plain(theirs)
    if match.op == "contains":
        return isinstance(theirs, str) and template.text_of(ours).strip() in theirs
    if isinstance(theirs, str) or not isinstance(theirs, Sequence):
        return False
    wanted = {_plain(each) for each in ([ours] if isinstance(ours, str) or not isinstance(ours, Sequence) else ours)}
    there = {_plain(each) for each in theirs}
    return wanted == there if match.op == "set" else wanted <= there


def _plain(value: JSON) -> bytes:
    """A form in which equal values are equal: services trim texts and rewrite line ends."""
    if isinstance(value, str):
        value = value.replace("\r\n", "\n").strip()
    try:
        return canonical(value)
    except ValueError:
        return repr(value).encode()
