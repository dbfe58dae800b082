"""Runs of work that is no capability, such as a program's own handler of events: admitted, begun and ended.

What carries them out is no concern of this room. What a task does to the outside is done by runs of its own, whose parent
it is; so a task has no lease, and only one that asks a model has sends (`outlet`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from interlock import policy
from interlock.kernel import (
    JSON,
    Caller,
    InterlockError,
    JsonLimits,
    Tx,
    canonical,
    check_json,
    digest_bytes,
    read_json,
)
from interlock.runs import drawing, entries, keeping, rebuilding
from interlock.runs.entries import Entry
from interlock.runs.errors import IdempotencyConflict
from interlock.runs.journal import Also, Journal, Move, Records
from interlock.runs.ledger import Admission, Admitted, AttemptEnd, SendEnd
from interlock.runs.model import Artifact, Attempt, AttemptState, Decision, Kind, Origin, Run, State
from interlock.runs.request import Request
from interlock.runs.shield import shielded
from interlock.runs.wiring import Wiring

TASK_LIMITS = JsonLimits()
"""How large and how deep an input may be, and an output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done. `name` stands where other runs have their capability, as `handler.incident` or `agent.desk`; rules that
    name it, and no others, keep it from being done."""

    name: str
    kind: Kind
    input: Mapping[str, JSON]
    origin: Origin = Origin.CALL
    connection_id: str | None = None
    environment: str = "dev"
    idempotency_key: str | None = None
    trace_id: str | None = None
    parent_run_id: str | None = None
    deadline_at: datetime | None = None
    runtime_class: str = "direct"
    model: str | None = None
    """The model that is asked, of a task that asks one."""

    def request(self) -> Request:
        """It as it is asked for. Raises RequestError for texts that are no names."""
        return Request(
            capability=self.name,
            kind=self.kind,
            input=self.input,
            origin=self.origin,
            connection=self.connection_id,
            environment=self.environment,
            idempotency_key=self.idempotency_key,
            trace_id=self.trace_id,
            parent_run_id=self.parent_run_id,
            timeout=timedelta(seconds=1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """An attempt at a task, and the pen of its run."""

    journal: Journal
    attempt: Attempt
    caller: Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnd:
    """How an attempt at a task ended and where that takes the run. `output` is kept of one that is completed. `told` and `state`
    may be functions, and then are drawn after what is written beside it; so is `approval_id`. `kept` are artifacts that `told`
    refers to."""

    state: State | Callable[[], State]
    attempt_state: AttemptState
    reason: str | None = None
    error: JSON = None
    output: bytes | None = None
    told: Sequence[Entry] | Callable[[], Sequence[Entry]] = field(default=())
    kept: Sequence[Artifact] = field(default=())
    approval_id: Callable[[], str | None] = lambda: None
    send_end: SendEnd | None = None
    """What became known of the attempt's last send, and is not on record yet."""


class Tasks:
    """Admits tasks, begins attempts at them, and ends these."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._rules = _rules_for_tasks(wiring.policy)

    def draw(
        self,
        caller: Caller,
        task: Task,
        *,
        state: State = State.QUEUED,
        run_id: str | None = None,
        refused: policy.Reason | None = None,
    ) -> Admission:
        """The task's run as it is to be admitted, in that state unless policy denies or sheds it, or it is `refused` for another
        reason. One that is `running` begins with its first attempt, of an owner who has begun. Nothing is written. Raises
        InvalidJson, RequestError."""
        wiring, at = self._wiring, self._wiring.clock.now()
        check_json(dict(task.input), limits=TASK_LIMITS, what="input")
        text = canonical(dict(task.input))
        run_id = run_id or wiring.ids.new("run")
        request = task.request().traced(wiring.tracing.traceparent())
        accepted = drawing.accepted(
            caller,
            request,
            run_id=run_id,
            connection_id=task.connection_id,
            input_json=text.decode(),
            input_digest=digest_bytes(text),
            at=at,
            deadline_at=task.deadline_at,
        )
        facts = self._facts(caller, task)
        verdict = _told(self._rules.decide(facts))
        if refused is not None:
            verdict = replace(verdict, effect=refused.effect, reasons=(refused, *verdict.reasons), role=None)
        decided = self._decision(accepted, request, verdict, facts)
        if verdict.effect is not policy.Effect.ALLOW:
            end = State.SHED if verdict.effect is policy.Effect.SHED else State.DENIED
            moved = accepted.moved(state=end, reason=drawing.leading(verdict, verdict.effect), finished_at=at)
        elif state is State.RUNNING:
            attempt = self._attempt(accepted, 1, accepted.fence, at)
            moved, told = accepted.moved(state=state, attempt_count=1), [entries.attempt_started(attempt)]
            admission = drawing.admitted(moved, told, decided, signer=wiring.signer, ids=wiring.ids)
            return replace(admission, attempt=attempt)
        else:
            moved = accepted.moved(state=state)
        return drawing.admitted(moved, [entries.run_moved(moved)], decided, signer=wiring.signer, ids=wiring.ids)

    def decide(self, caller: Caller, task: Task) -> policy.Decision:
        """What policy says of the task now. Nothing is written."""
        return _told(self._rules.decide(self._facts(caller, task)))

    def admit_all_in(self, tx: Tx, drawn: Sequence[Admission]) -> list[tuple[Admitted, Run]]:
        """The runs of drawn tasks in the caller's transaction, each of them or the run that holds its idempotency key. Raises
        IdempotencyConflict for another task's key."""
        answers = self._wiring.ledger.admit_all_in(tx, drawn)
        return [
            (answer, each.run if answer.fresh else self.holder(tx, each.run, answer.run_id))
            for each, answer in zip(drawn, answers, strict=True)
        ]

    def holder(self, tx: Tx, offered: Run, run_id: str) -> Run:
        """The run that has the key. Raises IdempotencyConflict unless it is about the same."""
        found = self._wiring.ledger.find_run(tx, offered.tenant_id, run_id)
        assert found is not None
        different = [
            name for name in ("actor", "input_digest", "environment") if getattr(found, name) != getattr(offered, name)
        ]
        if different:
            what = different[0].removesuffix("_digest")
            raise IdempotencyConflict(
                f"the idempotency key {offered.idempotency_key!r} of {offered.capability} belongs to {run_id}, which has "
                f"another {what}",
                run_id=run_id,
            )
        return found

    def _facts(self, caller: Caller, task: Task) -> policy.Facts:
        return policy.Facts(
            capability_id=task.name,
            connector_id=task.name.partition(".")[0],
            effect="execute",
            runtime_class=task.runtime_class,
            model=task.model,
            tenant_id=caller.tenant_id,
            actor=caller.actor,
            roles=caller.roles,
            environment=task.environment,
            origin=task.origin.value,
            pressure=self._wiring.pressure.readings(),
        )

    def _decision(self, run: Run, request: Request, verdict: policy.Decision, facts: policy.Facts) -> Decision:
        return Decision(
            decision_id=self._wiring.ids.new("dec"),
            run_id=run.run_id,
            tenant_id=run.tenant_id,
            number=1,
            effect=verdict.effect.value,
            reasons=verdict.reasons_json(),
            facts_json=canonical({**facts.to_json(), "request": rebuilding.kept(request)}).decode(),
            policy_digest=self._wiring.policy.digest,
            at=run.created_at,
        )

    async def begin(self, run: Run, caller: Caller, *, beside: Callable[[Tx], object] | None = None) -> Working:
        """Begin the next attempt at a run that is due, for who asked for it, under a fence of its own; `beside` writes in the
        same transaction. Raises StaleRun if another hand was first, StoreError, and what `beside` does."""
        wiring, at = self._wiring, self._wiring.clock.now()
        await wiring.ownership.begin()
        attempt = self._attempt(run, run.attempt_count + 1, run.fence + 1, at)
        journal = wiring.journal(run)
        await journal.write(
            [entries.attempt_started(attempt)],
            at=at,
            move=Move(state=State.RUNNING, fence=run.fence + 1),
            records=Records(attempt=attempt),
            beside=beside,
        )
        return Working(journal=journal, attempt=attempt, caller=caller)

    async def keep(self, working: Working, name: str, content: bytes) -> Artifact:
        """JSON that the attempt came to, as an artifact to be written by `note` or `end`."""
        return await keeping.kept(self._wiring, working.attempt, name, content)

    async def note(
        self,
        working: Working,
        told: Sequence[Entry] | Callable[[], Sequence[Entry]],
        *,
        kept: Sequence[Artifact] = (),
        approval_id: Callable[[], str | None] = lambda: None,
        beside: Callable[[Tx], object] | None = None,
    ) -> None:
        """Commit what the attempt came to so far, and with it what `beside` writes. `told` refers to the artifacts `kept`;
        `approval_id` is that of the last approval it tells of. Raises StaleRun, StoreError."""
        at, run = self._wiring.clock.now(), working.journal.run
        artifacts = tuple(replace(each, created_at=at) for each in kept)
        await working.journal.write(
            lambda: [*map(entries.artifact_recorded, artifacts), *(told() if callable(told) else told)],
            at=at,
            move=lambda: Move(reason=run.reason, error=run.error, approval_id=approval_id()),
            records=Records(artifacts=artifacts),
            beside=beside,
        )

    def _attempt(self, run: Run, number: int, fence: int, at: datetime) -> Attempt:
        return Attempt(
            attempt_id=self._wiring.ids.new("att"),
            run_id=run.run_id,
            tenant_id=run.tenant_id,
            number=number,
            state=AttemptState.RUNNING,
            owner_id=self._wiring.ownership.owner_id,
            fence=fence,
            lease_id=None,
            started_at=at,
            finished_at=None,
            error=None,
        )

    async def start(self, drawn: Admission, caller: Caller) -> Working | Run:
        """Admit what was drawn, and begin its first attempt with that, if it is to run. Else, or if another one holds its key,
        that run. Raises IdempotencyConflict, StoreError."""
        wiring, offered = self._wiring, drawn.run
        admitted = await shielded(wiring.ledger.admit(drawn))
        if not admitted.fresh:
            return await wiring.store.read(lambda tx: self.holder(tx, offered, admitted.run_id))
        if drawn.attempt is None:
            return offered
        return Working(journal=wiring.journal(offered), attempt=drawn.attempt, caller=caller)

    def start_in(self, tx: Tx, drawn: Admission, caller: Caller) -> Working | Run:
        """As `start`, in the caller's transaction. Raises IdempotencyConflict."""
        [(admitted, run)] = self.admit_all_in(tx, [drawn])
        if not admitted.fresh or drawn.attempt is None:
            return run
        return Working(journal=self._wiring.journal(run), attempt=drawn.attempt, caller=caller)

    async def again(
        self,
        working: Working,
        error: InterlockError,
        *,
        told: Sequence[Entry] = (),
        send_end: SendEnd | None = None,
        beside: Callable[[Tx], object] | None = None,
    ) -> Working:
        """End the attempt with that error and begin the next one, of the same owner. `told` goes between them; `beside` writes in
        the same transaction. Raises StaleRun, StoreError, and what `beside` does."""
        wiring, journal = self._wiring, working.journal
        at, run = wiring.clock.now(), journal.run
        attempt = self._attempt(run, working.attempt.number + 1, run.fence, at)
        end = AttemptEnd(
            attempt_id=working.attempt.attempt_id, state=AttemptState.FAILED, finished_at=at, error=error.to_json()
        )
        await journal.write(
            [*_settled(send_end), entries.attempt_ended(end), *told, entries.attempt_started(attempt)],
            at=at,
            move=Move(),
            records=Records(attempt=attempt, attempt_end=end, send_end=send_end),
            beside=beside,
        )
        return replace(working, attempt=attempt)

    async def close(
        self, run: Run, state: State, error: InterlockError, *, beside: Callable[[Tx], object] | None = None
    ) -> Run:
        """Take a run that nobody is at to that state, for that error. Raises StaleRun, StoreError."""
        journal = self._wiring.journal(run)
        move = Move(state=state, reason=error.code, error=error.to_json())
        await journal.write([], at=self._wiring.clock.now(), move=move, beside=beside)
        return journal.run

    async def end(self, working: Working, end: TaskEnd, *, beside: Callable[[Tx], object] | Also | None = None) -> Run:
        """Commit the attempt's end, and with it what `beside` writes in the same transaction. Raises StaleRun, StoreError."""
        wiring, attempt, outputs = self._wiring, working.attempt, list[Artifact]()
        if end.output is not None:
            outputs.append(await self.keep(working, "output", end.output))
        at = outputs[0].created_at if outputs else wiring.clock.now()
        kept = [replace(each, created_at=at) for each in end.kept]
        ended = AttemptEnd(attempt_id=attempt.attempt_id, state=end.attempt_state, finished_at=at, error=end.error)

        def told() -> Sequence[Entry]:
            said = end.told() if callable(end.told) else end.told
            return [
                *_settled(end.send_end),
                *map(entries.artifact_recorded, kept),
                *said,
                *map(entries.artifact_recorded, outputs),
                entries.attempt_ended(ended),
            ]

        await working.journal.write(
            told,
            at=at,
            move=lambda: Move(
                state=end.state() if callable(end.state) else end.state,
                reason=end.reason,
                error=end.error,
                approval_id=end.approval_id(),
            ),
            records=Records(attempt_end=ended, artifacts=(*kept, *outputs), send_end=end.send_end),
            beside=beside,
        )
        return working.journal.run


def input_of(run: Run) -> Mapping[str, JSON]:
    """What the run was asked for with."""
    return cast("Mapping[str, JSON]", read_json(run.input_json.encode()))


def _settled(send_end: SendEnd | None) -> Sequence[Entry]:
    return () if send_end is None else (entries.send_settled(send_end),)


def _rules_for_tasks(rules: policy.Policy) -> policy.Policy:
    """The rules that name tasks: what a rule says of all that executes, it says of effects, which the runs that a task asks
    for have, each under the whole policy. One that wants a person asked keeps a task from being done, for there is nothing
    to show them yet."""
    naming = tuple(rule for rule in rules.rules if any(_names_task(each) for each in rule.capability))
    return policy.Policy(rules=naming, default=policy.Effect.ALLOW, reviewer=rules.reviewer)


def _told(verdict: policy.Decision) -> policy.Decision:
    """With the reason of a task that no rule names: it is not the policy's default, which is about effects."""
    text = "no rule that names it matches; whatever it asks for is judged by itself"
    reasons = (replace(each, text=text) if each.rule_id == "default" else each for each in verdict.reasons)
    return replace(verdict, reasons=tuple(reasons))


def _names_task(pattern: str) -> bool:
    return pattern.partition(".")[0] in policy.TASKS
