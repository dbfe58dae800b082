"""What can go wrong with an approval."""

from interlock.kernel import ConflictError, Fault, NotFoundError, RequestError, Retry


class ApprovalNotFound(NotFoundError):
    """No such approval in this tenant."""

    code = "approval_not_found"
    next_step = "`interlock approvals list` shows the approvals of this tenant."


class AlreadyDecided(ConflictError):
    """The approval is no longer pending."""

    code = "already_decided"
    next_step = "Look at it: `interlock approvals show APPROVAL`. A new decision needs a new request."


class AlreadySpent(ConflictError):
    """The approval has been used; it is good for one call."""

    code = "already_spent"
    next_step = "Ask again: invoke the capability without the approval, and have the new one approved."


class ApprovalExpired(ConflictError):
    """The approval's time is over."""

    code = "approval_expired"
    next_step = (
        "Invoke the capability again; that asks anew. If the call had an idempotency key, give it a new one: the old one "
        "answers with the run that ended."
    )


class ApprovalDenied(ConflictError):
    """The reviewer said no, or the request was withdrawn."""

    code = "approval_denied"
    next_step = "A denial stands. Read its reason: `interlock approvals show APPROVAL`."


class NotApproved(ConflictError):
    """Nobody has decided yet."""

    code = "not_approved"
    retry = Retry.LATER
    next_step = "Have a reviewer decide: `interlock approvals approve APPROVAL`."


class BindingMismatch(ConflictError):
    """The approval was given for another call."""

    code = "binding_mismatch"
    next_step = "Send exactly the call that was approved, or ask for an approval of this one."


class RoleMissing(RequestError):
    """The reviewer does not have the role that the approval names."""

    code = "role_missing"
    retry = Retry.AFTER_CHANGE
    fault = Fault.CALLER
    next_step = "Have someone with the named role decide."


class SelfReview(RequestError):
    """The reviewer is the requester."""

    code = "self_review"
    retry = Retry.AFTER_CHANGE
    fault = Fault.CALLER
    next_step = "Have someone else decide."


class InvalidEdit(RequestError):
    """The edited input is not a JSON object."""

    code = "invalid_edit"
