"""The targets that can be put to the test by name: every place for processes on this host, and those of installed
packages."""

import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

from interlock import app, plane
from interlock.conformance.shelf import Shelf
from interlock.conformance.target_subject import TargetSubject
from interlock.kernel import SystemClock

_PYTHON: Final = os.path.realpath(sys.executable)
"""The interpreter itself, not the link to it in a virtual environment."""


class _Local:
    """A target on this host, with its own lane."""

    def __init__(self, target: Any, lane: plane.Lane) -> None:
        self._target = target
        self._lane = lane
        self._clock = SystemClock()

    @property
    def target(self) -> plane.Target:
        """As it is announced."""
        return self._target

    @property
    def keys(self) -> Mapping[str, str]:
        """It gives its bare word."""
        return {}

    async def attest(self, nonce: str) -> plane.Attestation | None:
        """By its own probe."""
        return await self._target.attest(nonce)

    async def run(self, source: str, arguments: Sequence[str], *, folder: str) -> bytes:
        """By its own lane."""
        channel = _Kept(self._clock)
        exchange = plane.Exchange(self._clock, channel=channel)
        confined = self._target.target_class != plane.LOCAL_PROCESS
        profile = app.python_profile(folder)
        # The file systems that are mounted below /sys are to be read only, as it is.
        profile = profile.model_copy(update={"read": (*profile.read, "/sys")})
        intent = plane.ProcessIntent(
            intent_id="escape",
            tenant_id="conformance",
            run_id="escape",
            attempt_id="escape",
            trace_id="escape",
            deadline_at=self._clock.now() + timedelta(minutes=1),
            argv=(_PYTHON, "-I", "-S", "-c", source, *arguments),
            sandbox=profile if confined else None,
        )
        await self._lane.execute(intent, exchange)
        return channel.said


class _Kept(plane.Channel):
    """Keeps what a program says; there is little of it."""

    def __init__(self, clock: SystemClock) -> None:
        inbox = plane.Inbox()
        inbox.end()
        super().__init__(plane.EventLog("escape", clock), inbox)
        self.said = b""

    async def output(self, stream: str, data: bytes, facts: Mapping[str, plane.Fact] | None = None) -> None:
        if stream == "stdout":
            self.said += data


@asynccontextmanager
async def _local(name: str) -> AsyncGenerator[TargetSubject]:
    ((target, lane),) = app.local_sandboxes(SystemClock(), [name]).items()
    try:
        yield _Local(target, lane)
    finally:
        await lane.aclose()


_CLASSES: Final = (
    plane.CONTAINER_GVISOR,
    plane.CONTAINER_RUNC,
    plane.LOCAL_BUBBLEWRAP,
    plane.LOCAL_LANDLOCK,
    plane.LOCAL_PROCESS,
)

TARGETS: Final[Shelf[TargetSubject]] = Shelf("target", {name: partial(_local, name) for name in _CLASSES})
"""Every target for commands that this host might have, and those of installed packages."""
