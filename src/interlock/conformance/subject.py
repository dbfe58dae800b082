"""What a lane's author provides, so that the suite can have the lane do good and bad work."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from interlock import plane
from interlock.kernel import RequestError

HANDLE: Final = "lse_conformance"
"""The lease that the suite's resolver knows. Its field is `token`."""

CREDENTIAL: Final = plane.HeaderCredential(handle=HANDLE, name="Authorization", template="Bearer {token}")
"""What intents of requests should carry, so that the suite can look for the secret where it must not be."""


class Case(StrEnum):
    """What an intent is to come to. `good`: done, and the receipt's body contains the mark. `unsent`: it fails before
    anything leaves. `failing`: something leaves, and then it fails. `endless`: it reaches the peer and never ends by itself;
    a process bears the mark among its arguments. `huge`: the peer says far more than 64 MiB, as fast as it is taken."""

    GOOD = "good"
    UNSENT = "unsent"
    FAILING = "failing"
    ENDLESS = "endless"
    HUGE = "huge"


class LaneSubject(Protocol):
    """A lane with a peer that is up. The peer may live in this process, and must not change what it holds open from one
    execution to the next."""

    def make_lane(self, credentials: plane.CredentialResolver) -> plane.Lane:
        """A new lane, which may reach the peer."""
        ...

    @property
    def received(self) -> int:
        """How much has reached the peer: bytes, or starts of commands. It grows with everything that leaves."""
        ...

    @property
    def sent(self) -> int:
        """How many bytes were taken from the peer so far."""
        ...

    def intent(self, case: Case, *, identity: Mapping[str, Any], mark: str, total_ms: int) -> plane.Intent | None:
        """An intent for the lane: with these fields of `plane.Intent`, at most `total_ms` long, and by `mark` different
        from all others. None if the lane has no such case; what depends on it is then skipped."""
        ...


OpenLaneSubject: TypeAlias = Callable[[], AbstractAsyncContextManager[LaneSubject]]
"""Brings the peer up, and takes it down again. This is what an entry point of the group
`interlock.conformance.lanes` names."""


class UnknownSubject(RequestError):
    """There is no lane, target or verifier of that name to be put to the test."""

    code = "unknown_subject"
    next_step = "Use one of the names in the message; one of yours needs an entry point (docs/conformance.md)."


class SubjectBroken(RequestError):
    """What an entry point names cannot be loaded or opened."""

    code = "subject_broken"
    next_step = "Correct the package that offers it; docs/conformance.md shows what it must offer."
