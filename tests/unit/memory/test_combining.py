"""Providers around a provider: what reaches the one inside, and what comes out."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock import memory
from interlock.kernel import Secret, Uuid7Ids
from interlock.memory.combining.cached import Cached
from interlock.memory.combining.encrypted import Encrypted
from interlock.memory.combining.redacting import Redacting
from interlock.memory.combining.sealing import Seal
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

ANA = memory.Scope(tenant="acme", user="ana")
KEY = Secret(base64.b64encode(bytes(range(32))).decode())
OTHER_KEY = Secret(base64.b64encode(bytes(range(1, 33))).decode())


async def inside(clock: ManualClock, name: str = "memory", **config: Any) -> memory.Provider:
    kind = memory.Registry().fetch(name)
    return await kind.open(kind.validate_config(config), clock=clock, ids=Uuid7Ids(clock))


async def told(
    outer: memory.Provider, inner: memory.Provider, clock: ManualClock
) -> tuple[memory.Memory, memory.Memory]:
    return memory.Memory(outer, ANA, clock=clock), memory.Memory(inner, ANA, clock=clock)


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


class TestCached:
    async def test_a_read_is_kept_until_something_is_written_through_it(self):
        clock = ManualClock()
        inner = await inside(clock)
        mem, behind = await told(Cached(inner, clock=clock), inner, clock)
        kept = await mem.remember("one")
        assert [len((await mem.retrieve()).hits), (await mem.get(kept.record_id)).revision] == [1, 1]
        await behind.remember("two", record_id=kept.record_id)
        await behind.remember("unseen yet")
        assert [len((await mem.retrieve()).hits), (await mem.get(kept.record_id)).text] == [1, "one"]
        await mem.remember("three")
        assert [len((await mem.retrieve()).hits), (await mem.get(kept.record_id)).text] == [3, "two"]

    async def test_a_read_is_kept_for_so_long(self):
        clock = ManualClock()
        inner = await inside(clock)
        mem, behind = await told(Cached(inner, clock=clock, seconds=5), inner, clock)
        await mem.retrieve()
        await behind.remember("new")
        clock.advance(4.9)
        assert not (await mem.retrieve()).hits
        clock.advance(0.2)
        assert len((await mem.retrieve()).hits) == 1

    async def test_what_expires_is_not_served_from_it(self):
        clock = ManualClock()
        inner = await inside(clock)
        mem, _ = await told(Cached(inner, clock=clock, seconds=1_000), inner, clock)
        kept = await mem.remember("soon over", expires_at=clock.now() + timedelta(seconds=10))
        assert len((await mem.retrieve()).hits) == 1
        await mem.get(kept.record_id)
        clock.advance(10)
        assert not (await mem.retrieve()).hits
        with pytest.raises(memory.RecordNotFound):
            await mem.get(kept.record_id)

    async def test_scopes_and_queries_are_kept_apart(self):
        clock = ManualClock()
        inner = await inside(clock)
        mem, _ = await told(Cached(inner, clock=clock), inner, clock)
        kept = await mem.remember("hers", tags=["a"])
        assert len((await mem.retrieve()).hits) == 1
        assert not (await mem.retrieve(tags_any=["b"])).hits
        await mem.get(kept.record_id)
        theirs = memory.Memory(mem.provider, memory.Scope(tenant="acme", user="bob"), clock=clock)
        assert not (await theirs.retrieve()).hits
        with pytest.raises(memory.RecordNotFound):
            await theirs.get(kept.record_id)

    async def test_it_never_keeps_more_than_it_may(self):
        clock = ManualClock()
        inner = await inside(clock)
        cached = Cached(inner, clock=clock, max_bytes=6_000)
        mem, behind = await told(cached, inner, clock)
        records = [await behind.remember("x" * 1_000) for _ in range(5)]
        for record in records:
            await mem.get(record.record_id)
        assert 0 < cached._bytes <= 6_000
        await behind.remember("changed", record_id=records[-1].record_id)
        await behind.remember("changed", record_id=records[0].record_id)
        assert (await mem.get(records[-1].record_id)).text == "x" * 1_000
        assert (await mem.get(records[0].record_id)).text == "changed"
        await mem.forget(records[0].record_id)
        assert cached._bytes == 0

    async def test_what_was_read_while_something_was_written_is_not_kept(self):
        clock = ManualClock()
        inner = await inside(clock)
        begun, go = anyio.Event(), anyio.Event()
        retrieve = inner.retrieve

        async def slow(scope: memory.Scope, query: memory.Query) -> memory.RetrieveResult:
            found = await retrieve(scope, query)
            begun.set()
            await go.wait()
            return found

        inner.retrieve = slow
        mem, _ = await told(Cached(inner, clock=clock), inner, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mem.retrieve)
            await begun.wait()
            await mem.remember("written meanwhile")
            go.set()
        assert len((await mem.retrieve()).hits) == 1


class TestRedacting:
    async def test_the_provider_inside_never_sees_what_is_taken_out(self):
        clock = ManualClock()
        inner = await inside(clock)
        secret = Secret("correct horse battery")
        mem, behind = await told(Redacting(inner, patterns=["api_keys", "emails"], secrets=[secret]), inner, clock)
        hidden = [secret.reveal(), base64.b64encode(secret.reveal().encode()).decode(), "ana@example.org"]
        said = f"mail {hidden[2]} with {hidden[0]}, {hidden[1]} or sk-{'a' * 20}"
        draft = memory.Draft.of(
            text=said,
            content={"a": [said, {said: 1}]},
            metadata={"m": said},
            tags=[hidden[2]],
            kind=hidden[0],
            source=hidden[2],
            provenance={"span": said, "source_turn": hidden[2]},
            embedding=(1.0,) * 256,
        )
        kept = await mem.remember(draft)
        await mem.ingest([draft])
        revised = await mem.remember(draft.changed(record_id=kept.record_id))
        for record in (kept, revised, *(await behind.retrieve()).records):
            document = str(record.to_json())
            assert not [each for each in (*hidden, "sk-aaaa") if each in document]
            assert record.text == "mail [redacted] with [redacted], [redacted] or [redacted]"
        by_theirs = await behind.retrieve(vector=(1.0,) * 256, mode="semantic")
        assert all((hit.score or 0) < 0.9 for hit in by_theirs.hits), "the caller's vector tells what was taken out"
        assert not mem.capabilities().supports("transfer")
        found = await mem.retrieve(tags_any=[hidden[2]], kinds=[hidden[0]], text_contains=f"WITH {hidden[0]}".lower())
        assert len(found.hits) == 2
        assert hidden[0] not in str(found.query.to_json())

    async def test_a_plan_of_the_caller_s_is_cleaned_too(self):
        clock = ManualClock()
        inner = await inside(clock)
        mem, behind = await told(Redacting(inner, patterns=["emails"]), inner, clock)
        for _ in range(2):
            await mem.remember("the same words")
        plan = await mem.plan_consolidation()
        draft = plan.changes[0].record
        assert draft is not None
        change = plan.changes[0].changed(record=draft.changed(text="to ana@example.org"))
        await mem.apply_consolidation(plan.changed(changes=(change,)))
        assert [record.text for record in (await behind.retrieve()).records] == ["to [redacted]"]

    async def test_a_key_with_a_secret_in_it_is_refused(self):
        clock = ManualClock()
        mem = memory.Memory(Redacting(await inside(clock), patterns=["emails"]), ANA)
        with pytest.raises(memory.InvalidInput, match="idempotency_key"):
            await mem.remember("x", idempotency_key="ana@example.org")

    @pytest.mark.parametrize(
        ("name", "text", "left"),
        [
            ("cards", "4111 1111 1111 1111 and 4111 1111 1111 1112", "[redacted] and 4111 1111 1111 1112"),
            ("cards", "in 2026-11-21 12:30 there were 123456", "in 2026-11-21 12:30 there were 123456"),
            ("aws_keys", "AKIAIOSFODNN7EXAMPLE", "[redacted]"),
            ("bearer", "Authorization: Bearer abcdefghij0123456789", "Authorization: [redacted]"),
            ("jwts", f"x eyJ{'a' * 20}.eyJ{'b' * 20}.{'c' * 43} y", "x [redacted] y"),
            (
                "private_keys",
                "a -----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,0A\n\nMIIB\n-----END RSA PRIVATE KEY----- b",
                "a [redacted] b",
            ),
        ],
    )
    async def test_patterns(self, name: str, text: str, left: str):
        clock = ManualClock()
        mem = memory.Memory(Redacting(await inside(clock), patterns=[name]), ANA)
        assert (await mem.remember(text)).text == left

    @pytest.mark.parametrize("unit", ["-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaa-", "aaaa.", "1 ", "sk-", "bearer "])
    async def test_no_text_takes_more_than_its_time(self, unit: str):
        redacting = Redacting(await inside(ManualClock()), patterns=[*memory_patterns()])
        redacting._text(unit * (1_000_000 // len(unit)))

    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"inner": "memory", "patterns": ["("]},
            {"inner": "memory", "secrets": ["a text"]},
            {"inner": "memory", "other": 1},
            {"inner": {"name": "memory", "config": {"unknown": 1}}},
            {"inner": {"name": "memory", "color": "red"}},
            {"inner": 7},
        ],
    )
    async def test_a_wrong_configuration_is_told(self, config: dict[str, Any]):
        with pytest.raises(memory.InvalidConfig):
            Redacting.validate_config(config)

    async def test_a_secret_that_is_too_short_is_refused(self):
        with pytest.raises(memory.InvalidConfig, match="less than 8"):
            Redacting(await inside(ManualClock()), secrets=[Secret("short")])


def memory_patterns() -> list[str]:
    from interlock.kernel import PATTERNS

    return list(PATTERNS)


class TestEncrypted:
    async def test_nothing_that_was_said_is_legible_in_the_file(self, tmp_path: Path):
        clock = ManualClock()
        inner = await inside(clock, "sqlite", path=str(tmp_path / "m.db"), embedder="none")
        assert isinstance(inner, memory.Keeper)
        outer = Encrypted(inner, Seal(KEY), clock=clock, ids=Uuid7Ids(clock))
        mem = memory.Memory(outer, ANA, clock=clock)
        fields: dict[str, Any] = {"content": {"k": "zebra1"}, "metadata": {"m": "zebra2"}, "idempotency_key": "zebra3"}
        kept = await mem.remember("zebra4", **fields, provenance={"span": "zebra5", "source_turn": "zebra6"})
        await mem.remember("zebra7", record_id=kept.record_id)
        gone = await mem.remember("zebra8", memory_class="semantic")
        await mem.forget(gone.record_id)
        assert (await mem.get(kept.record_id)).text == "zebra7"
        assert [entry.record and entry.record.text for entry in await mem.history(kept.record_id)] == [
            "zebra4",
            "zebra7",
        ]
        await outer.close()
        written = everything(tmp_path).lower()
        assert b"zebra" not in written
        assert gone.digest[7:].encode() not in written
        assert memory.Record.of(**dict(kept)).digest[7:].encode() not in written

    async def test_what_is_moved_to_another_place_does_not_open(self):
        seal = Seal(KEY)
        clock = ManualClock()
        mem = memory.Memory(await inside(clock), ANA, clock=clock)
        record = await mem.remember("sealed", metadata={"a": 1}, idempotency_key="k")
        other = await mem.remember("another")
        closed = seal.closed(record)
        assert seal.open(closed) == record
        theirs = memory.Scope(tenant="acme", user="bob")
        changed: list[dict[str, Any]] = [{"record_id": other.record_id}, {"scope": theirs}, {"revision": 2}]
        for fields in changed:
            with pytest.raises(memory.ProviderUnavailable, match="does not open"):
                seal.open(closed.changed(**fields))
        with pytest.raises(memory.ProviderUnavailable, match="another key"):
            Seal(OTHER_KEY).open(closed)
        assert "…" in repr(seal)

    async def test_it_does_not_search_and_says_so(self):
        config = {"inner": "memory", "key": KEY}
        async with memory.Memory.open("encrypted", config, scope=ANA) as mem:
            await mem.remember("needle in hay", metadata={"n": 1})
            for mode in (None, *memory.SearchMode):
                with pytest.raises(memory.UnsupportedCapability, match="does not search by"):
                    await mem.retrieve("needle", mode=mode)
            found = await mem.retrieve(text_contains="NEEDLE", metadata={"n": 1}, exact_total=True)
            assert (len(found.hits), found.total) == (1, 1)

    @pytest.mark.parametrize(("size", "beside"), [(787_000, 0), (984_000, 0), (memory.MAX_TEXT, 262_000)])
    async def test_what_is_large_is_sealed_in_pieces(self, size: int, beside: int, tmp_path: Path):
        config = {"inner": {"name": "sqlite", "config": {"path": str(tmp_path / "memory.db")}}, "key": KEY}
        text, most = "zebra crossing".ljust(size, "x"), {"a": "y" * beside}
        async with memory.Memory.open("encrypted", config, scope=ANA) as mem:
            kept = await mem.remember(memory.Draft.of(text=text, content=most, metadata=most))
            assert await mem.get(kept.record_id) == kept
            assert (kept.text, kept.content, kept.metadata) == (text, most, most)
        assert b"zebra crossing" not in everything(tmp_path)  # five letters alone are met by chance in a megabyte

    async def test_too_much_to_be_sealed_is_refused(self):
        async with memory.Memory.open("encrypted", {"inner": "memory", "key": KEY}, scope=ANA) as mem:
            await mem.remember('"' * 880_000)  # each is two bytes of JSON
            with pytest.raises(memory.InvalidInput, match="to be sealed"):
                await mem.remember('"' * 890_000)

    async def test_the_key_may_be_in_a_file(self, tmp_path: Path):
        (tmp_path / "key").write_text(KEY.reveal() + "\n")
        config = {"inner": "memory", "key_file": str(tmp_path / "key")}
        async with memory.Memory.open("encrypted", config, scope=ANA) as mem:
            assert (await mem.get((await mem.remember("x")).record_id)).text == "x"

    @pytest.mark.parametrize(
        "config",
        [
            {"inner": "memory"},
            {"key": KEY},
            {"inner": "memory", "key": "a text"},
            {"inner": "memory", "key": KEY, "key_file": "x"},
            {"inner": "memory", "key_file": "/no/such/file"},
            {"inner": "memory", "key_file": 7},
            {"inner": "memory", "key": Secret("too short")},
            {"inner": "memory", "key": Secret(base64.b64encode(b"a" * 32).decode())},
            {"inner": "memory", "key": KEY, "other": 1},
            {"inner": {"name": "redacting", "config": {"inner": "memory"}}, "key": KEY},
        ],
    )
    async def test_a_wrong_configuration_is_told(self, config: dict[str, Any]):
        with pytest.raises(memory.InvalidConfig):
            async with memory.Memory.open("encrypted", config, scope=ANA):
                pass
