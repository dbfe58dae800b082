"""What is put to the test of a target: the target itself, and a way to run a program inside."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from interlock import plane


class TargetSubject(Protocol):
    """A target that has not been probed yet."""

    @property
    def target(self) -> plane.Target:
        """The target, as a node would have it."""
        ...

    @property
    def keys(self) -> Mapping[str, str]:
        """The public keys (base64) by key id with which it signs its attestations; empty if it gives its bare word."""
        ...

    async def attest(self, nonce: str) -> plane.Attestation | None:
        """Probe it, and attest to what was shown, in answer to a challenge. None if its class was not shown."""
        ...

    async def run(self, source: str, arguments: Sequence[str], *, folder: str) -> bytes:
        """Run a Python program inside, which may write in that folder and nowhere else where the class confines it, with
        no variables. Returns what it wrote to stdout."""
        ...


OpenTargetSubject: TypeAlias = Callable[[], AbstractAsyncContextManager[TargetSubject]]
"""Makes a target ready for the test, and takes it away again. This is what an entry point of the group
`interlock.conformance.targets` names."""
