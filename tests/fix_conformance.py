"""A lane and a target that keep every promise, made so that a test can have them break one."""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest

from interlock import conformance, kernel, plane

PIECE = b"x" * 65_536


class ToyLane:
    """Speaks to a peer that is a counter. Each method is a thing that a test may do wrong."""

    def __init__(self, subject: "ToySubject", credentials: plane.CredentialResolver) -> None:
        self.subject = subject
        self.credentials = credentials

    @property
    def lane_id(self) -> str:
        return "toy"

    @property
    def carries(self) -> type[plane.Intent]:
        return plane.HttpIntent

    async def execute(self, intent: Any, exchange: plane.Exchange) -> None:
        case, mark = intent.target.target.strip("/").split("?")
        if case == "unsent":
            raise plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, "nobody is there")
        secret = await self.credentials.redeem(intent.credentials[0].ref, host="toy:1", tenant_id="t", run_id="r")
        await self.send(exchange, secret)
        await anyio.lowlevel.checkpoint()
        if case == "failing":
            self.fail()
        elif case == "endless":
            await self.endless()
        elif case == "huge":
            await self.huge(exchange)
        await self.answer(exchange, mark)

    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        exchange.leave(1)
        self.subject.received += 1

    def fail(self) -> None:
        raise plane.LaneFailure(plane.FailureClass.READ_FAILED, "the peer went away")

    async def endless(self) -> None:
        await anyio.sleep_forever()

    async def huge(self, exchange: plane.Exchange) -> None:
        assert exchange.channel is not None
        for _ in range(4096):
            await exchange.channel.output("body", PIECE)
            self.subject.sent += len(PIECE)

    async def answer(self, exchange: plane.Exchange, mark: str) -> None:
        exchange.body, exchange.status, exchange.answered = mark.encode(), 200, True

    async def aclose(self) -> None:
        pass


class ToySubject:
    def __init__(self, kind: type[ToyLane] = ToyLane) -> None:
        self.kind = kind
        self.received = 0
        self.sent = 0

    def make_lane(self, credentials: plane.CredentialResolver) -> plane.Lane:
        return self.kind(self, credentials)

    def intent(
        self, case: conformance.Case, *, identity: Mapping[str, Any], mark: str, total_ms: int
    ) -> plane.Intent | None:
        return plane.HttpIntent(
            **identity,
            method="GET",
            url=f"http://toy/{case}?{mark}",
            allowed_hosts=("toy:80",),
            credentials=(conformance.CREDENTIAL,),
            timeouts=plane.Timeouts(total_ms=total_ms),
        )


@pytest.fixture
def tidied() -> Generator[None]:
    """What the broken lanes leave behind is gone after the test."""
    yield
    while LeavesOpen.left:
        os.close(LeavesOpen.left.pop())
    while LeavesAProcess.left:
        with LeavesAProcess.left.pop() as process:
            process.kill()


@asynccontextmanager
async def toy() -> AsyncGenerator[conformance.LaneSubject]:
    """As an entry point names it."""
    yield ToySubject()


@asynccontextmanager
async def toy_target() -> AsyncGenerator[conformance.TargetSubject]:
    """As an entry point names it."""
    yield ToyTarget()


@asynccontextmanager
async def toy_verifier() -> AsyncGenerator[conformance.VerifierSubject]:
    """As an entry point names it."""

    def make(clock: kernel.Clock) -> tuple[conformance.AuthorityIssuer, plane.AuthorityVerifier]:
        issuer = plane.Authorizer(clock=clock)
        return issuer, issuer.verifier()

    yield conformance.AuthoritySubject(make)


async def check_toy(kind: type[ToyLane], *only: str) -> conformance.Report:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[conformance.LaneSubject]:
        yield ToySubject(kind)

    return await conformance.check_lane("toy", opened, only=only or None, settles_within=0.5)


# -- one broken lane for each promise


class AnswersWithAWord(ToyLane):
    async def answer(self, exchange: plane.Exchange, mark: str) -> None:
        await super().answer(exchange, mark)
        exchange.status = "done"  # pyright: ignore[reportAttributeAccessIssue] - that is the point


class NotesThePast(ToyLane):
    async def answer(self, exchange: plane.Exchange, mark: str) -> None:
        exchange.notes.append(("early", exchange.clock.now() - timedelta(days=1), {}))
        await super().answer(exchange, mark)


class SendsBeforeItAsks(ToyLane):
    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        self.subject.received += 1
        exchange.leave(1)


class CountsNothing(ToyLane):
    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        self.subject.received += 1


class DeniesWhatItSent(ToyLane):
    def fail(self) -> None:
        raise plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, "as if nothing had left")


class RaisesWhatItLikes(ToyLane):
    def fail(self) -> None:
        raise RuntimeError("not a LaneFailure")


class LeavesOpen(ToyLane):
    left: ClassVar[list[int]] = []

    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        self.left.append(os.open(os.devnull, os.O_RDONLY))
        await anyio.lowlevel.checkpoint()  # cancelled here, it stays open
        os.close(self.left.pop())
        await super().send(exchange, secret)


class LeavesAFile(ToyLane):
    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        number, path = tempfile.mkstemp()
        os.close(number)
        await anyio.lowlevel.checkpoint()
        os.unlink(path)
        await super().send(exchange, secret)


class LeavesAProcess(ToyLane):
    left: ClassVar[list[subprocess.Popen[bytes]]] = []

    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        self.left.append(subprocess.Popen(["/bin/sleep", "3600"]))  # noqa: ASYNC220 - it starts at once
        await anyio.lowlevel.checkpoint()
        with self.left.pop() as process:
            process.kill()
        await super().send(exchange, secret)


class IgnoresCancellation(ToyLane):
    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            fail = plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, "something else")
            raise fail from None
        await super().send(exchange, secret)


class EndsAsIfDone(ToyLane):
    async def endless(self) -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return


class TakesEverything(ToyLane):
    async def huge(self, exchange: plane.Exchange) -> None:
        for _ in range(4096):
            self.subject.sent += len(PIECE)
            await anyio.lowlevel.checkpoint()


class TellsItsSecret(ToyLane):
    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        exchange.facts["header"] = f"Bearer {secret.reveal()}"
        await super().send(exchange, secret)


class LogsItsSecret(ToyLane):
    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        logging.getLogger("toy").debug("sending %s", secret.reveal())
        await super().send(exchange, secret)


class ShowsItsSecret(ToyLane):
    shown = ""

    async def send(self, exchange: plane.Exchange, secret: kernel.Secret) -> None:
        self.shown = secret.reveal()
        await super().send(exchange, secret)

    def __repr__(self) -> str:
        return f"Toy({self.shown})"


class MixesAnswers(ToyLane):
    last = ""

    async def answer(self, exchange: plane.Exchange, mark: str) -> None:
        self.last = mark
        await anyio.lowlevel.checkpoint()
        await super().answer(exchange, self.last)


class CarriesAnything(ToyLane):
    @property
    def carries(self) -> type[plane.Intent]:
        return plane.Intent


class ClosesOnce(ToyLane):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


BROKEN: list[tuple[str, type[ToyLane], str]] = [
    ("one-receipt", AnswersWithAWord, "status"),
    ("evidence", NotesThePast, "goes back in time"),
    ("delivery", SendsBeforeItAsks, "before `exchange.leave`"),
    ("delivery", CountsNothing, "before `exchange.leave`"),
    ("failures", DeniesWhatItSent, "connect_failed says of the effect"),
    ("failures", RaisesWhatItLikes, "the lane toy broke"),
    ("cancellation", LeavesOpen, "1 more other descriptors"),
    ("cancellation", LeavesAFile, "1 more temporary files"),
    ("cancellation", LeavesAProcess, "1 more processes"),
    ("cancellation", IgnoresCancellation, "it went on without an answer"),
    ("total-timeout", EndsAsIfDone, "ended without a failure"),
    ("backpressure", TakesEverything, "bytes were taken"),
    ("secrets", TellsItsSecret, "the facts"),
    ("secrets", LogsItsSecret, "the log"),
    ("secrets", ShowsItsSecret, "repr"),
    ("concurrency", MixesAnswers, "of another one"),
    ("foreign-kind", CarriesAnything, "every kind"),
    ("close", ClosesOnce, "closed already"),
]


class ToyTarget:
    """Claims to be a bubblewrap, and confines nothing. Its attestation itself is in order, as long as no test changes it."""

    def __init__(self, **wrong: Any) -> None:
        self.wrong = wrong
        self.clock = kernel.SystemClock()
        self.keys: Mapping[str, str] = {}
        self.attestation: plane.Attestation | None = None
        self.target_id = "toy"

    @property
    def target(self) -> plane.Target:
        return self

    async def attest(self, nonce: str) -> plane.Attestation:
        fields: dict[str, Any] = {
            "target_id": "toy",
            "target_class": plane.LOCAL_BUBBLEWRAP,
            "properties": tuple(sorted(plane.CLASSES[plane.LOCAL_BUBBLEWRAP])),
            "attested_by": plane.SELF_ATTESTED,
            "attested_at": self.clock.now(),
            "expires_at": self.clock.now() + timedelta(minutes=15),
            "nonce": nonce,
        }
        self.attestation = plane.Attestation.model_construct(**fields | self.wrong.get("attestation", {}))
        return self.attestation

    def describe(self) -> plane.TargetDescriptor:
        if "describe" in self.wrong:
            self.wrong["describe"]()
        now = self.clock.now()
        nothing = plane.Attestation(
            target_class=plane.UNPROVEN, properties=(), attested_by="self", attested_at=now, expires_at=now
        )
        ready = self.attestation is not None or "eager" in self.wrong
        return plane.TargetDescriptor.model_construct(
            target_id="toy",
            lane_id="toy",
            attestation=self.attestation or nothing,
            health=plane.Health.READY if ready else plane.Health.UNAVAILABLE,
            reason=None if ready else "it was not probed yet",
        )

    async def run(self, source: str, arguments: Sequence[str], *, folder: str) -> bytes:
        spare = os.open(os.devnull, os.O_RDONLY)
        try:
            command = [sys.executable, "-I", "-S", "-c", source, *arguments]
            return (await anyio.run_process(command, pass_fds=(spare,))).stdout
        finally:
            os.close(spare)


async def check_toy_target(subject: ToyTarget, *only: str) -> conformance.Report:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[conformance.TargetSubject]:
        yield subject

    return await conformance.check_target("toy", opened, only=only or None)
