"""What can go wrong when a packet is made. Verifying one raises nothing: what is wrong there is the answer."""

from interlock.kernel import Fault, Retry, StoreError


class LedgerDamaged(StoreError):
    """A row of the ledger does not hold what was once written into it, so that no packet can be made of it."""

    code = "ledger_damaged"
    retry = Retry.NEVER
    fault = Fault.OPERATOR
    next_step = "The row was changed or damaged outside Interlock: run `interlock doctor`, and compare with a backup."
