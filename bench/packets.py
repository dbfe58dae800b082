"""Suite `packet`: a run of 10,000 events as a signed packet, made and checked."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from hashlib import sha256

import orjson

from bench.paperwork import Paperwork
from bench.place import Place
from bench.report import Row, compare
from bench.subject import CALLER, rooms
from bench.timing import Contestant, Once, race
from interlock import runs
from interlock.kernel import Tx
from interlock.runs import packet, verify

EVENTS = 10_000


async def run(place: Place) -> list[Row]:
    """Building from rows at hand, with their reading, and verifying."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(place.store("sqlite"))
        wiring = (subject := await stack.enter_async_context(rooms(url, place.new()))).wiring
        finished = await Paperwork(subject).long_run(EVENTS)
        trust = runs.Trust(keys := await subject.parts.keyring.public_keys())

        def read(tx: Tx) -> packet.Material:
            return packet.read(wiring.ledger, tx, finished)

        material = await wiring.store.read(read)
        stored = [event.body.encode() for event in material.events]
        data = packet.build(material, signer=wiring.signer, keys=keys, at=wiring.clock.now())
        verdict = verify.verify(data, trust=trust)
        assert (verdict.status, verdict.events) == ("verified", EVENTS), verdict

        async def export() -> bytes:
            return await subject.parts.reading.export(CALLER, finished.run_id)

        contestants = [
            _plain(lambda: [sha256(body).hexdigest() for body in stored]),
            _plain(lambda: [(sha256(body).hexdigest(), orjson.loads(body)) for body in stored]),
            _plain(lambda: packet.build(material, signer=wiring.signer, keys=keys, at=wiring.clock.now())),
            _plain(lambda: verify.verify(data, trust=trust)),
            Contestant(export),
        ]
        hashed, parsed, built, verified, exported = await race(contestants, place.pace)
    plain, fair = "SHA-256 of stored bytes", "SHA-256 and JSON parse"
    return [
        compare("packet, 10,000 events, build (time)", built, plain, hashed, key="packet-build"),
        compare("packet, 10,000 events, read and build (time)", exported, plain, hashed, in_time=True),
        compare("packet, 10,000 events, verify (time)", verified, plain, hashed, in_time=True),
        compare("packet, 10,000 events, verify (time)", verified, fair, parsed, key="packet-verify"),
    ]


def _plain(fn: Callable[[], object]) -> Contestant:
    async def once() -> None:
        fn()

    wrapped: Once = once
    return Contestant(wrapped)
