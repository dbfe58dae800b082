"""Which of the values that a place had is used, and what is sealed of a place."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from interlock import connections
from interlock.connections import MAX_LEASE, SourceKind, sources
from interlock.kernel import Secret
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOURCING = sources.Sourcing(
    kind=SourceKind.ENV,
    places={"password": "ACME"},
    params={"username": "ann"},
    derive={"basic": "base64({username}:{password})", "more": "base64({absent})"},
)
CREDENTIAL = connections.Credential(
    credential_id="crd_1", connection_id="con_1", tenant_id="t1", version=1, key_id="key_1", nonce=b"", ciphertext=b"",
    fields=("source",), expires_at=None, revoked_at=None, created_at=NOW,
)  # fmt: skip


@dataclass
class Told:
    """A place that holds what a test says."""

    value: str = "first-password"
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def fetch(self, place: str, *, tenant_id: str) -> Secret:
        self.asked.append((place, tenant_id))
        return Secret(self.value)


@dataclass
class Desk:
    place: Told = field(default_factory=Told)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.sources = sources.Sources({SourceKind.ENV: self.place}, clock=self.clock)

    async def fresh(self) -> str:
        return (await self.sources.fresh(CREDENTIAL, SOURCING.packed()))["password"].reveal()

    async def as_of(self, moment: datetime) -> str:
        return (await self.sources.as_of(CREDENTIAL, SOURCING.packed(), moment))["password"].reveal()


async def test_what_is_derived_comes_of_what_is_there():
    desk = Desk()
    read = await desk.sources.read(SOURCING, tenant_id="t1")
    assert {name: secret.reveal() for name, secret in read.items()} == {
        "password": "first-password",
        "basic": "YW5uOmZpcnN0LXBhc3N3b3Jk",
    }
    assert desk.place.asked == [("ACME", "t1")]


async def test_a_lease_opens_what_was_read_before_it():
    desk = Desk()
    assert await desk.fresh() == "first-password"
    desk.clock.advance(1)
    issued = desk.clock.now()
    desk.clock.advance(1)
    desk.place.value = "second-password"
    assert await desk.as_of(issued) == "first-password"
    assert await desk.fresh() == "second-password"
    assert await desk.as_of(issued) == "first-password"
    assert await desk.as_of(desk.clock.now()) == "second-password"
    assert len(desk.place.asked) == 2


async def test_what_no_lease_can_need_is_forgotten():
    desk = Desk()
    await desk.fresh()
    before = desk.clock.now()
    desk.clock.advance(MAX_LEASE.total_seconds())
    desk.place.value = "second-password"
    await desk.fresh()
    assert await desk.as_of(before + timedelta(seconds=1)) == "second-password"  # read anew


async def test_what_was_never_read_is_read():
    assert await Desk().as_of(NOW) == "first-password"


@pytest.mark.parametrize(
    "held", [{}, {"source": Secret("[]")}, {"source": Secret("x")}, {"token": Secret("ghp_0123456789")}]
)
def test_what_is_sealed_says_where_or_is_damaged(held: dict[str, Secret]):
    assert sources.unpacked(SOURCING.packed()) == SOURCING
    with pytest.raises(connections.CredentialDamaged) as caught:
        sources.unpacked(held)
    assert caught.value.__cause__ is None


async def test_a_kind_that_nobody_reads_is_told():
    with pytest.raises(connections.SecretUnavailable, match="nothing here reads secrets of the kind 'env'"):
        await sources.Sources({}, clock=ManualClock()).read(SOURCING, tenant_id="t1")
