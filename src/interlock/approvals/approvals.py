"""The service: ask, decide, spend. What takes `tx` is part of the caller's transaction."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from interlock import kernel
from interlock.approvals.errors import (
    AlreadyDecided,
    AlreadySpent,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalNotFound,
    BindingMismatch,
    InvalidEdit,
    NotApproved,
    RoleMissing,
    SelfReview,
)
from interlock.approvals.model import ALLOWED, Approval, Binding, State
from interlock.approvals.records import Query, Records
from interlock.kernel import JSON, Caller, Clock, ConflictError, IdSource, RequestError, Store, Tx

MAX_PAGE = 500
_MAX_REASON = 2000

_UNSPENDABLE: Mapping[State, type[ConflictError]] = {
    State.PENDING: NotApproved,
    State.DENIED: ApprovalDenied,
    State.CANCELLED: ApprovalDenied,
    State.EXPIRED: ApprovalExpired,
    State.SPENT: AlreadySpent,
}


class Approvals:
    """One installation's approvals.

    `self_review` lets a requester decide their own requests: for an installation with a single operator. Such a
    decision is recorded as what it is (`Approval.self_reviewed`).
    """

    def __init__(
        self,
        store: Store,
        records: Records,
        *,
        clock: Clock,
        ids: IdSource,
        self_review: bool = False,
        expires_after: timedelta = timedelta(hours=24),
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._ids = ids
        self._self_review = self_review
        self._expires_after = expires_after

    def request(
        self,
        tx: Tx,
        *,
        binding: Binding,
        summary: JSON,
        run_id: str | None = None,
        expires_after: timedelta | None = None,
    ) -> Approval:
        """Ask for consent to a call: of somebody with the binding's role, who is not its actor."""
        now = self._clock.now()
        approval = Approval(
            approval_id=self._ids.new("apr"),
            tenant_id=binding.tenant_id,
            run_id=run_id,
            binding=binding,
            summary=summary,
            state=State.PENDING,
            requester=binding.actor,
            role=binding.role,
            reviewer=None,
            reason=None,
            edited_input=None,
            created_at=now,
            expires_at=now + (expires_after or self._expires_after),
            decided_at=None,
            spent_at=None,
            spent_by=None,
        )
        self._records.insert(tx, approval)
        return approval

    def find_usable(self, tx: Tx, *, tenant_id: str, binding_digest: str) -> Approval | None:
        """An approval that `spend` would take for this binding now, whoever asked for it."""
        return self._records.find_approved(tx, tenant_id, binding_digest, self._clock.now())

    def spend(self, tx: Tx, *, tenant_id: str, approval_id: str, binding_digest: str, spent_by: str) -> Approval:
        """Use an approval up for the call of the run `spent_by`, once and for all.

        Raises ApprovalNotFound, NotApproved, ApprovalDenied, ApprovalExpired, AlreadySpent (`details["spent_by"]` names
        the run) and BindingMismatch; then nothing was written.
        """
        now = self._clock.now()
        before = self._fetch(tx, tenant_id, approval_id, now)
        if before.state is not State.APPROVED:
            raise _unspendable(before)
        if before.binding_digest != binding_digest:
            raise BindingMismatch(
                f"approval {approval_id} was given for another call",
                details={"approved": before.binding_digest, "asked": binding_digest},
            )
        after = replace(before, state=State.SPENT, spent_at=now, spent_by=spent_by)
        if not self._records.replace(tx, before, after):  # another process was quicker
            raise _unspendable(self._fetch(tx, tenant_id, approval_id, now))
        return after

    def give_back(self, tx: Tx, spent: Approval) -> Approval:
        """Let the run that asked for the approval, and has spent it, spend it again: for a caller that has the proof that
        nothing left, in the transaction that puts the proof on record. Raises AlreadyDecided if it has moved on."""
        after = spent.given_back()
        if not self._records.replace(tx, spent, after):
            raise _decided(self._fetch(tx, spent.tenant_id, spent.approval_id, self._clock.now()))
        return after

    def approve_in(self, tx: Tx, caller: Caller, *, approval_id: str, edited_input: JSON = None) -> Approval:
        """As `approve`, inside the caller's transaction."""
        before = self._reviewable(tx, caller, approval_id, State.PENDING)
        binding = before.binding
        if edited_input is not None:
            if not isinstance(edited_input, dict):
                raise InvalidEdit(f"the edited input is {type(edited_input).__name__}, not a JSON object")
            kernel.check_json(edited_input, what="edited input")
            binding = replace(binding, input_digest=kernel.digest(edited_input))
        after = replace(before, state=State.APPROVED, binding=binding, edited_input=edited_input)
        return self._decide(tx, caller, before, after)

    def deny_in(self, tx: Tx, caller: Caller, *, approval_id: str, reason: str) -> Approval:
        """As `deny`, inside the caller's transaction."""
        before = self._reviewable(tx, caller, approval_id, State.PENDING, State.APPROVED)
        return self._decide(tx, caller, before, replace(before, state=State.DENIED, reason=reason[:_MAX_REASON]))

    def cancel(self, tx: Tx, *, tenant_id: str, approval_id: str, reason: str) -> Approval | None:
        """Withdraw a request, or a consent that has not been used. None if there is nothing left to withdraw."""
        before = self._fetch(tx, tenant_id, approval_id, self._clock.now())
        if State.CANCELLED not in ALLOWED[before.state]:
            return None
        after = replace(before, state=State.CANCELLED, reason=reason[:_MAX_REASON])
        return after if self._records.replace(tx, before, after) else None

    def is_any_over(self, tx: Tx) -> bool:
        """Whether `expire` has something to record."""
        return bool(self._records.list_over(tx, self._clock.now(), 1))

    def expire(self, tx: Tx, *, limit: int = 100) -> tuple[Approval, ...]:
        """Record what has expired, in every tenant, so that the runs that wait for it can end in this transaction."""
        now = self._clock.now()
        found = self._records.list_over(tx, now, limit)
        return tuple(before.as_of(now) for before in found if self._records.replace(tx, before, before.as_of(now)))

    def list_for_run(self, tx: Tx, *, tenant_id: str, run_id: str) -> tuple[Approval, ...]:
        """A run's approvals, oldest first."""
        now = self._clock.now()
        return tuple(approval.as_of(now) for approval in self._records.list_for_run(tx, tenant_id, run_id))

    def find_in(self, tx: Tx, *, tenant_id: str, approval_id: str) -> Approval | None:
        """The approval, if the tenant has it."""
        found = self._records.find(tx, tenant_id, approval_id)
        return found and found.as_of(self._clock.now())

    async def approve(self, caller: Caller, approval_id: str, *, edited_input: JSON = None) -> Approval:
        """Consent; with `edited_input`, to the call with that input instead.

        The binding then covers the edited input; whoever spends the approval validates and judges it first. Raises
        ApprovalNotFound, AlreadyDecided, ApprovalExpired, RoleMissing, SelfReview and InvalidEdit.
        """
        return await self._store.write(
            lambda tx: self.approve_in(tx, caller, approval_id=approval_id, edited_input=edited_input)
        )

    async def deny(self, caller: Caller, approval_id: str, *, reason: str) -> Approval:
        """Refuse, for good; or take a yes back that was not spent.

        Raises ApprovalNotFound, AlreadyDecided, ApprovalExpired, RoleMissing and SelfReview.
        """
        return await self._store.write(lambda tx: self.deny_in(tx, caller, approval_id=approval_id, reason=reason))

    async def fetch_approval(self, caller: Caller, approval_id: str) -> Approval:
        """The approval. Raises ApprovalNotFound, also for another tenant's."""
        now = self._clock.now()
        return await self._store.read(lambda tx: self._fetch_seen(tx, caller, approval_id, now))

    async def list_approvals(
        self, caller: Caller, *, states: tuple[State, ...] = (), cursor: str | None = None, limit: int = 50
    ) -> tuple[Approval, ...]:
        """Approvals of the caller's tenant, newest first, at most 500. `cursor` is the last id of the page before. Raises
        RequestError for a cursor that is none."""
        if cursor is not None and not kernel.is_id(cursor, "apr"):
            raise RequestError("the cursor is not an approval id: send back the one from the last page")
        now = self._clock.now()
        size = max(1, min(limit, MAX_PAGE))
        seen_by = caller if caller.is_limited else None
        query = Query(tenant_id=caller.tenant_id, now=now, states=states, cursor=cursor, limit=size, seen_by=seen_by)
        found = await self._store.read(lambda tx: self._records.list_approvals(tx, query))
        return tuple(approval.as_of(now) for approval in found)

    def _fetch(self, tx: Tx, tenant_id: str, approval_id: str, now: datetime) -> Approval:
        # What no id can be is not asked for: a database may refuse such text.
        found = self._records.find(tx, tenant_id, approval_id) if kernel.is_id(approval_id, "apr") else None
        if found is None:
            raise _not_there(approval_id)
        return found.as_of(now)

    def _fetch_seen(self, tx: Tx, caller: Caller, approval_id: str, now: datetime) -> Approval:
        """The approval, if the caller may see what it is for."""
        found = self._fetch(tx, caller.tenant_id, approval_id, now)
        if not caller.sees(found.binding.capability_id, found.binding.connection_id):
            raise _not_there(approval_id)
        return found

    def _reviewable(self, tx: Tx, caller: Caller, approval_id: str, *states: State) -> Approval:
        """The approval, if it is in one of these states and the caller may decide it."""
        found = self._fetch_seen(tx, caller, approval_id, self._clock.now())
        if found.role not in caller.roles:
            raise RoleMissing(
                f"deciding approval {approval_id} takes the role {found.role!r}", details={"role": found.role}
            )
        if caller.actor == found.requester and not self._self_review:
            raise SelfReview(f"{caller.actor} asked for approval {approval_id} and cannot decide it")
        if found.state is State.EXPIRED:
            raise ApprovalExpired(f"approval {approval_id} expired at {kernel.to_rfc3339(found.expires_at)}")
        if found.state not in states:
            raise _decided(found)
        return found

    def _decide(self, tx: Tx, caller: Caller, before: Approval, after: Approval) -> Approval:
        now = self._clock.now()
        after = replace(after, reviewer=caller.actor, decided_at=now)
        if not self._records.replace(tx, before, after):
            raise _decided(self._fetch(tx, before.tenant_id, before.approval_id, now))
        return after


def _not_there(approval_id: str) -> ApprovalNotFound:
    return ApprovalNotFound(f"there is no approval {approval_id[:60]!r}")


def _decided(found: Approval) -> AlreadyDecided:
    by = f" by {found.reviewer}" if found.reviewer else ""
    return AlreadyDecided(
        f"approval {found.approval_id} is {found.state.value}{by}", details={"state": found.state.value}
    )


def _unspendable(found: Approval) -> ConflictError:
    by = f" by run {found.spent_by}" if found.spent_by else ""
    return _UNSPENDABLE.get(found.state, BindingMismatch)(
        f"approval {found.approval_id} cannot be used: it is {found.state.value}{by}",
        details={"state": found.state.value, "spent_by": found.spent_by},
    )
