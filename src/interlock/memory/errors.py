"""What can go wrong with memory: one tree, each leaf with a code, the provider and the operation."""

from collections.abc import Mapping

from interlock.kernel import (
    JSON,
    ConfigurationError,
    ConflictError,
    InterlockError,
    NotFoundError,
    ProviderError,
    RequestError,
    Retry,
    StoreError,
)


class MemoryFault(InterlockError):
    """The root of everything that a memory raises. `provider` and `operation` say where; None where there is none yet."""

    code = "memory_fault"
    next_step = "Look at what the message names; `interlock memory providers` checks each provider."

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        operation: str | None = None,
        next_step: str | None = None,
        details: Mapping[str, JSON] | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step, details=details)
        self.at(provider, operation)

    def at(self, provider: str | None, operation: str | None) -> None:
        """Say where it happened, unless that is said already."""
        self.provider = getattr(self, "provider", None) or provider
        self.operation = getattr(self, "operation", None) or operation
        known = {"provider": self.provider, "operation": self.operation}
        self.details |= {name: value for name, value in known.items() if value is not None}

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, with nothing changed."""
        return self.retry is Retry.LATER


class InvalidInput(MemoryFault, RequestError):
    """A record, a query or an option that no provider could take. `details.problems` lists all of it."""

    code = "memory_invalid_input"
    next_step = "Correct what the message names."


class RecordNotFound(MemoryFault, NotFoundError):
    """No such record in this scope: it was never there, has expired, was forgotten, or is somebody else's.
    `details.scope_known` says whether anything was ever kept in this scope."""

    code = "memory_record_not_found"
    next_step = "Search for it (`interlock memory search`); if the scope is not known, look at how it is written."


class ScopeDenied(MemoryFault, RequestError):
    """It reaches beyond the scope that this memory was opened with."""

    code = "memory_scope_denied"
    next_step = "A scope can only be narrowed; open another memory for another scope."


class RecordConflict(MemoryFault, ConflictError):
    """The record is of another revision by now, or its idempotency key was used for something else."""

    code = "memory_conflict"
    next_step = "Get the record again, and decide anew with what it says now."


class UnsupportedCapability(MemoryFault, RequestError):
    """The provider does not offer this."""

    code = "memory_unsupported"
    next_step = "`interlock memory providers` shows what each provider offers; choose one that does."


class BrokenCapability(MemoryFault, ProviderError):
    """The provider offers this and does not implement it, or answered with what the contract does not know."""

    code = "memory_broken_capability"
    retry = Retry.NEVER
    next_step = "Tell whoever maintains the provider; `interlock conformance memory PROVIDER` shows what it breaks."


class UnknownProvider(MemoryFault, ConfigurationError):
    """No provider of this name is installed, or its package is broken."""

    code = "memory_unknown_provider"
    next_step = "`interlock memory providers` lists what is installed."


class InvalidConfig(MemoryFault, ConfigurationError):
    """The provider cannot be opened with this configuration. `details.problems` lists all of it."""

    code = "memory_invalid_config"
    next_step = "Correct what the message names and open it again."


class ProviderUnavailable(MemoryFault, StoreError):
    """The provider's storage or service cannot be reached, is full, or is damaged."""

    code = "memory_unavailable"
    next_step = "See that the provider's file, database or service is there, and try again."


class DeadlineExceeded(MemoryFault, ProviderError):
    """The provider did not answer in time. A write may or may not have been kept: repeat it with its idempotency key."""

    code = "memory_deadline_exceeded"
    next_step = "Give it longer (`timeout`), or find out what the provider waits for."


class ProviderFailed(MemoryFault, ProviderError):
    """The provider raised what the contract does not know: `details.type`, at `details.where`. The error itself is in
    `__cause__`, and told by the command line with --verbose."""

    code = "memory_provider_failed"
    retry = Retry.NEVER
    next_step = "Tell whoever maintains the provider; -v shows what it raised."
    tells_cause = True
