"""One attempt: carry the operation out, and say what became of it."""

import logging
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar, cast

import anyio

from interlock import plane, sdk
from interlock.kernel import (
    JSON,
    PROGRESS,
    InterlockError,
    InternalError,
    Retry,
    StoreError,
    UnknownOutcome,
    canonical,
    is_interruption,
)
from interlock.runs.beginning import Begun
from interlock.runs.call import Call
from interlock.runs.carrying import carry
from interlock.runs.doubt import find_twin
from interlock.runs.entries import Entry
from interlock.runs.errors import DeadlinePassed, OwnershipLapsed, RunCancelled, StaleRun
from interlock.runs.scripts import ActionHeld
from interlock.runs.sender import Sender
from interlock.runs.wiring import Wiring

T = TypeVar("T")

_progress = logging.getLogger(PROGRESS)

READ_TRIES = 3
"""How often a failing reconciliation read is repeated before a person is asked."""

_RAN = frozenset({plane.FailureClass.SCRIPT_FAILED, plane.FailureClass.SCRIPT_DENIED, plane.FailureClass.SCRIPT_LIMIT})
"""The failures of a script that ran."""

ONCE = "It happened: look at the service before you ask for it again, for that would do it once more."
"""What to do about an error that came after its effect."""

READ_AGAIN = (
    "`interlock runs settle RUN` reads the service once more. Or look there, and record what you saw: "
    "`interlock runs settle RUN --happened` or `--not-happened`."
)
"""What to do about a write that reading could not settle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended. Without an error it is done; with one, `effect` says what that means, and `again` whether a
    further attempt is safe and sensible. `content` is the output's canonical JSON, if there is an output to keep. `unmade`:
    the call is proven not to have happened, and was not let happen, so what was spent for it is given back."""

    output: JSON = None
    content: bytes | None = None
    error: InterlockError | None = None
    effect: sdk.EffectState = "happened"
    again: bool = False
    unmade: bool = False

    def __post_init__(self) -> None:
        """The error says of the effect what the sends say, whoever raised it: who obeys it must not do twice what was
        done."""
        error = self.error
        if error is None:
            return
        if "effect" in error.details or self.effect != "none":
            error.details["effect"] = self.effect
        if isinstance(error, sdk.OperationFailed):
            error.effect = self.effect
        if self.effect == "happened" and error.retry is not Retry.NEVER:
            error.retry, error.next_step = Retry.NEVER, ONCE


async def carry_out(wiring: Wiring, call: Call, sender: Sender, facts: sdk.Facts, begun: Begun) -> Ending:
    """Run the operation to its end. Raises StaleRun and OwnershipLapsed; cancellation passes through, and the caller then
    asks the sender what is known."""
    ending = await _try(wiring, call, sender, facts, begun)
    match sender.stopped:
        case None:
            return ending
        case RunCancelled():
            return judge(call, sender, sender.stopped)
        case lost:
            raise lost


async def _try(wiring: Wiring, call: Call, sender: Sender, facts: sdk.Facts, begun: Begun) -> Ending:
    value: JSON = None
    try:
        with anyio.move_on_after((begun.deadline_at - wiring.clock.now()).total_seconds()) as scope:
            value = await _perform(wiring, call, sender, facts, begun)
        if scope.cancelled_caught:
            raise TimeoutError
        value = call.redactor.json(value)
        return _checked(call, value, effect=sender.effect())
    except TimeoutError:
        return judge(call, sender, DeadlinePassed(f"{call.capability.capability_id} took longer than its timeout"))
    except InterlockError as error:
        return judge(call, sender, error)
    except BaseException as error:
        if is_interruption(error):
            raise
        return judge(call, sender, _defect(call, error))


async def _perform(wiring: Wiring, call: Call, sender: Sender, facts: sdk.Facts, begun: Begun) -> JSON:
    if call.operation.handler is not None:
        return await wiring.handlers.call(call.capability, call.value, sender)
    if call.operation.http is None:
        return await carry(wiring.actions, call, sender, facts)
    program, request = begun.opening or (sdk.program(call.operation, call.value, facts), None)
    return (await drive(program, sender, request)).value


async def drive(
    program: Generator[sdk.HttpRequest, sdk.HttpResponse, T], http: sdk.Http, request: sdk.HttpRequest | None = None
) -> T:
    """Run a program over a port until it returns, from its start or from `request`, which it has yielded. Raises what the
    program or the port raises."""
    try:
        request = request or next(program)
        while True:
            request = program.send(await http.request(request))
    except StopIteration as finished:
        return finished.value


def _checked(call: Call, value: JSON, *, effect: sdk.EffectState) -> Ending:
    """The output in the form in which it is kept, if it is what the operation promises."""
    try:
        content = canonical(value)
    except ValueError as cause:
        unfit = sdk.UnexpectedAnswer(
            f"{call.capability.capability_id}: its output cannot be kept: {cause}", effect=effect
        )
        unfit.__cause__ = cause
        return Ending(error=unfit, effect=effect)
    value = sdk.ordered(call.operation.output_schema, value)
    try:
        call.capability.validate_output(value)
    except InterlockError as error:
        return Ending(output=value, content=content, error=error, effect=effect)
    return Ending(output=value, content=content)


def judge(call: Call, sender: Sender, error: InterlockError) -> Ending:
    """What an error means for the effect, and whether another attempt is safe."""
    redacted(call, error)
    if isinstance(error, ActionHeld):
        return Ending(error=error, effect="unknown")
    effect = sender.effect()
    # What the declaration says of an answer counts. A handler's word does not: what it sent, and was answered, does.
    if isinstance(error, sdk.OperationFailed) and call.operation.handler is None and sender.writes:
        if error.effect == "none":
            sender.refused()
            effect = sender.effect()
        elif effect != "unknown":
            effect = error.effect
    # With another credential, if one is to be had: `renewing` finds out.
    sensible = error.retry is Retry.LATER or (isinstance(error, sdk.AuthFailed) and call.resolved is not None)
    return Ending(error=error, effect=effect, again=effect == "none" and sensible)


def redacted(call: Call, error: InterlockError) -> InterlockError:
    """The error, with the connection's secrets taken out of everything that is shown of it."""
    error.message = call.redactor.text(error.message)
    error.args = (error.message,)
    error.details = cast("dict[str, JSON]", call.redactor.json(error.details))
    return error


def _defect(call: Call, error: BaseException) -> InterlockError:
    """What a connector's own exception becomes. It is not chained: nobody knows what its frames and text hold."""
    where = call.capability.capability_id
    return redacted(call, InternalError(f"{where}: its connector raised {type(error).__name__}: {str(error)[:500]}"))


async def reconcile(
    wiring: Wiring,
    call: Call,
    sender: Sender,
    facts: sdk.Facts,
    *,
    cause: InterlockError,
    written_at: datetime,
) -> Ending:
    """Settle a write of that moment, whose outcome is unknown, by reading. It ends done, with a proof that nothing
    happened (then `again`), or unclear, for a person."""
    if call.operation.reconcile is None:
        return unclear(call, cause, "the operation has no way to find out by reading")
    capability_id = call.capability.capability_id
    _progress.info("%s: it is unknown whether it happened (%s); reading the service", capability_id, cause.code)
    begun: Entry = ("reconcile.started", {"capability": capability_id, "cause": cause.code})
    await sender.record([begun], at=wiring.clock.now())
    verdict, failure = await _read(wiring, call, sender, facts)
    if verdict is not None and verdict.verdict is sdk.Verdict.ABSENT:
        # Absence counts only once the write had its time to show.
        at = wiring.clock.now()
        wait = max(0.0, call.operation.settled_after - (at - written_at).total_seconds())
        _progress.info(
            "%s: not there yet; what shows late is there in %.0f s, then it is read again", capability_id, wait
        )
        await sender.record([("reconcile.waiting", {"milliseconds": int(wait * 1000), "verdict": "absent"})], at=at)
        await wiring.clock.sleep(wait)
        verdict, failure = await _read(wiring, call, sender, facts)
    if verdict is not None and verdict.verdict is sdk.Verdict.HAPPENED:
        twin = await find_twin(wiring, call, run_id=sender.run_id, started_at=facts.started_at)
        if twin is not None:
            why = f"it is there, but {twin} asked for the same and may be what did it"
            verdict = replace(verdict, verdict=sdk.Verdict.UNCLEAR, reason=why)
    await _conclude(wiring, sender, verdict, failure)
    if verdict is None:
        return unclear(call, cause, f"reading failed: {failure.message if failure else 'no answer'}")
    if verdict.verdict is sdk.Verdict.HAPPENED:
        ending = _checked(call, call.redactor.json(verdict.output), effect="happened")
        # A record may have less than the write's own answer had; that it is there is what was asked.
        return Ending(output=ending.output, content=ending.content)
    if verdict.verdict is sdk.Verdict.ABSENT:
        return Ending(error=cause, effect="none", again=True)
    return unclear(call, cause, f"{verdict.reason}")


async def _conclude(
    wiring: Wiring, sender: Sender, verdict: sdk.Reconciled | None, failure: InterlockError | None
) -> None:
    data: dict[str, JSON] = {
        "verdict": "unread" if verdict is None else verdict.verdict.value,
        "matches": None if verdict is None else verdict.matches,
        "error": None if failure is None else failure.code,
    }
    await sender.record([("reconcile.concluded", data)], at=wiring.clock.now())


async def _read(
    wiring: Wiring, call: Call, sender: Sender, facts: sdk.Facts
) -> tuple[sdk.Reconciled | None, InterlockError | None]:
    """The verdict, or what stopped the reading."""
    failure: InterlockError | None = None
    for tries in range(1, READ_TRIES + 1):
        verdict, failure = await _read_once(call, sender, facts)
        if failure is None:
            return verdict, None
        if failure.retry is not Retry.LATER or (failure.retry_after or 0.0) > wiring.limits.retry_wait:
            break
        await wiring.clock.sleep(wiring.limits.backoff.delay(tries, at_least=failure.retry_after))
    return None, failure


@dataclass(frozen=True, slots=True)
class _Reads:
    """A sender through which only settling reads go, whatever a connector's own function takes them for."""

    sender: Sender

    async def request(self, request: sdk.HttpRequest) -> sdk.HttpResponse:
        return await self.sender.request(replace(request, purpose=sdk.Purpose.RECONCILE))


async def _read_once(
    call: Call, sender: Sender, facts: sdk.Facts
) -> tuple[sdk.Reconciled | None, InterlockError | None]:
    try:
        with anyio.fail_after(call.operation.timeout_seconds * 2):
            verdict = await drive(sdk.reconciliation(call.operation, call.value, facts), _Reads(sender))
    except TimeoutError:
        return None, DeadlinePassed("the reconciling read took too long")
    except (StaleRun, OwnershipLapsed, StoreError):
        raise  # that our own store is away says nothing of the service: the run stays open, to be read for again
    except InterlockError as error:
        return None, redacted(call, error)
    except BaseException as error:
        if is_interruption(error):
            raise
        return None, _defect(call, error)
    return verdict, None if verdict.failure is None else redacted(call, verdict.failure)


def run_again(call: Call, ending: Ending) -> Ending:
    """How a script ended that was run again to settle what an earlier attempt did. If it did not come to run, nothing is
    settled: that nothing left now says nothing of before."""
    error = ending.error
    if error is None or ending.effect != "none" or error.details.get("failure_class") in _RAN:
        return ending
    return replace(unclear(call, error, "only running it again would tell, and it could not run"), again=ending.again)


def unclear(call: Call, cause: InterlockError, why: str) -> Ending:
    """The end that waits for a person, who is told why nobody knows."""
    unknown = UnknownOutcome(
        f"{call.capability.capability_id} may or may not have happened ({cause.message}); {why}",
        details={"cause": cause.to_json()},
        next_step=None if call.operation.reconcile is None else READ_AGAIN,
    )
    return Ending(error=unknown, effect="unknown")
