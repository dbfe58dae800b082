"""What an answer means: its JSON, or the failure that the first fitting error rule names."""

import re
from collections.abc import Iterable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import orjson

from interlock.kernel import JSON, read_json
from interlock.sdk import pointer
from interlock.sdk.errors import FAILURES, EffectState, OperationFailed, UnexpectedAnswer
from interlock.sdk.kinds import HttpOperation
from interlock.sdk.manifest import Effect, Operation
from interlock.sdk.rules import Condition, ErrorRule, RetryAfter
from interlock.sdk.wire import Facts, HttpResponse

_BUILT_IN: Final = tuple(
    ErrorRule.model_validate_json(orjson.dumps(rule))
    for rule in (
        {"status": "401", "code": "auth_failed"},
        {"status": "403", "code": "provider_forbidden"},
        *({"status": status, "code": "resource_not_found"} for status in ("404", "410", "451")),
        *({"status": status, "code": "resource_conflict"} for status in ("409", "412", "423")),
        {"status": "429", "code": "rate_limited", "retry_after": {"header": "retry-after"}},
        {"status": "408", "code": "provider_unavailable"},
        {"status": "4xx", "code": "invalid_for_provider"},
        {"status": "5xx", "code": "provider_unavailable", "retry_after": {"header": "retry-after"}},
        {"status": "3xx", "code": "unexpected_answer"},
        {"status": "2xx", "code": "unexpected_answer"},
        {"status": "1xx", "code": "unexpected_answer"},
    )
)
MAX_WAIT: Final = 7 * 86_400.0
"""Seconds: the longest wait that a service can ask for. Quotas come back within a day, the slowest within a week; beyond
that, a header is a mistake or an attack, and must neither park work for good nor leave the range of dates."""

_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_YEARS: Final = range(
    1970, 9000
)  # of a Date header: clocks are compared with it, and sums with others leave the calendar
_MESSAGES: Final = ("/message", "/error/message", "/error", "/errors/0/message", "/detail", "/title")


def read(operation: Operation, http: HttpOperation, response: HttpResponse, facts: Facts) -> JSON:
    """The JSON of a successful answer (None for an empty body). Raises a leaf of OperationFailed for any other, which one with a
    status of success is if a rule tells so by what else it says."""
    if response.status not in http.success or _refused_by_name(operation, response):
        raise failure(operation, response, facts)
    if not response.body.strip():
        return None
    try:
        return read_json(response.body)
    except ValueError as error:
        raise UnexpectedAnswer(
            f"{operation.operation_id}: the service answered {response.status} with a body that is not JSON",
            effect="none" if operation.effect is Effect.READ else "happened",
            status=response.status,
        ) from error


def failure(
    operation: Operation, response: HttpResponse, facts: Facts, *, effect: EffectState | None = None
) -> OperationFailed:
    """The error that an answer stands for. `effect` overrides what the rule says; for a read it is always `none`."""
    body = _lenient_json(response.body)
    # A status beyond 599 fits no rule and means what the last one says.
    rule = next((rule for rule in (*operation.errors, *_BUILT_IN) if _fits(rule, response, body)), _BUILT_IN[-1])
    # A redirect was not followed and a refusal did nothing; a server that gave up waiting may have acted all the same.
    refused = 300 <= response.status < 500 and response.status != 408
    usual: EffectState = "none" if refused or operation.effect is Effect.READ else "unknown"
    ruled = None if operation.effect is Effect.READ else rule.effect
    said = _message(body)
    return FAILURES[rule.code](
        f"{operation.operation_id}: the service answered {response.status}" + (f": {said}" if said else ""),
        effect=effect or ruled or usual,
        status=response.status,
        retry=rule.retry,
        retry_after=None if rule.retry_after is None else _seconds(rule.retry_after, response, facts),
    )


def _refused_by_name(operation: Operation, response: HttpResponse) -> bool:
    """Whether a rule looks behind the status and finds a refusal."""
    rules = [rule for rule in operation.errors if rule.when is not None and rule.status[0] == "2"]
    return bool(rules) and any(_fits(rule, response, _lenient_json(response.body)) for rule in rules)


def _fits(rule: ErrorRule, response: HttpResponse, body: JSON) -> bool:
    status = str(response.status)
    fits = rule.status in (status, f"{status[0]}xx")
    return fits and (rule.when is None or _holds(rule.when, response, body))


def _holds(when: Condition, response: HttpResponse, body: JSON) -> bool:
    if when.header is not None:
        value = response.header(when.header.lower())
        if value is None or (when.equals is not None and value.strip() != when.equals):
            return False
    if when.pointer is None:
        return when.contains is None or when.contains.lower() in response.body.decode(errors="replace").lower()
    found = pointer.get(body, when.pointer)
    if isinstance(found, pointer.Missing):
        return False
    if when.header is None and when.equals is not None and found != when.equals:
        return False
    return when.contains is None or when.contains.lower() in str(found).lower()


def _seconds(rule: RetryAfter, response: HttpResponse, facts: Facts) -> float | None:
    asked = _asked(rule, response, facts)
    return None if asked is None else min(max(0.0, asked), MAX_WAIT)


def _asked(rule: RetryAfter, response: HttpResponse, facts: Facts) -> float | None:
    # The service's own clock, where it tells it: its moments are meant by that clock.
    now = date_of(response) or facts.started_at
    value = response.header(rule.header.lower()) if rule.header else None
    if value is not None:
        if _NUMBER.fullmatch(value.strip()):
            return float(value)
        moment = _date(value)
        if moment is not None:
            return (moment - now).total_seconds()
    reset = response.header(rule.reset_header.lower()) if rule.reset_header else None
    if reset is not None and _NUMBER.fullmatch(reset.strip()):
        return float(reset) - now.timestamp()
    return rule.seconds


def date_of(response: HttpResponse) -> datetime | None:
    """The service's own time of an answer (RFC 9110 §6.6.1), if it says and can be meant."""
    moment = _date(response.header("date"))
    return moment if moment is not None and moment.year in _YEARS else None


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _lenient_json(body: bytes) -> JSON:
    try:
        return read_json(body)
    except ValueError:
        return None


def _message(body: JSON) -> str | None:
    """The service's own words, for people: one line, of bounded length."""
    found: Iterable[object] = (pointer.get(body, each) for each in _MESSAGES)
    text = next((each for each in found if isinstance(each, str) and each.strip()), None)
    return None if text is None else "".join(c if c.isprintable() else " " for c in text[:300]).strip()
