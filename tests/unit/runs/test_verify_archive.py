"""What archives are made of that nobody of us wrote."""

import json
import os
import zlib

import fix_review
from interlock.kernel import canonical
from interlock.runs import archive, signing, verify_archive

TRUST = signing.Trust(fix_review.Signer().public_keys())
WHOLE = fix_review.archive(fix_review.completed(), fix_review.refused(fix_review.runs.State.DENIED))


def older(data: bytes, signer: fix_review.Signer) -> bytes:
    """The archive, under a seal of a version whose seals brought no key along."""
    start = data.rindex(b"\x1f\x8b\x08\0\0\0\0\0")
    seal = json.loads(zlib.decompress(data[start:], 31))
    statement = {name: value for name, value in seal.items() if name not in {"signature", "public_key"}}
    return data[:start] + archive.pack(canonical({**statement, "signature": signer.sign(canonical(statement))}))


def test_an_archive_is_proven():
    verdict = verify_archive.verify_archive(WHOLE, trust=TRUST)
    assert (verdict.ok, verdict.packets, verdict.problems) == (True, 2, ())


def test_no_piece_is_opened_beyond_the_limit():
    limit = 10_000
    for size in (limit - 1, limit, limit + 1):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        start = packer.compress(b"\0" * (size - 1)) + packer.flush(zlib.Z_FULL_FLUSH)
        # Blocks with nothing in them, and one with a last byte that ends where what is read at once ends.
        fill = -(len(start) + 6) % verify_archive.CHUNK
        while fill % 5:
            fill += verify_archive.CHUNK
        data = start + b"\0\0\0\xff\xff" * (fill // 5) + b"\0\x01\0\xfe\xff\0"
        assert len(data) % verify_archive.CHUNK == 0
        data += packer.compress(os.urandom(200_000)) + packer.flush()
        verdict = verify_archive.verify_archive(data, most_bytes=limit)
        assert verdict.failed[0].verdict.problems[0].what == "its bytes are damaged"


def test_a_seal_is_held_against_the_keys_of_every_packet():
    other = fix_review.Signer(2, "key_" + "2" * 32)
    stories = fix_review.completed(), fix_review.completed(signer=other)
    sound = verify_archive.verify_archive(fix_review.archive(*stories, signer=other))
    assert (sound.status, sound.problems) == ("intact_signer_unknown", ())
    liar = fix_review.Signer(3, other.key_id)
    forged = verify_archive.verify_archive(fix_review.archive(*stories, signer=liar))
    assert forged.status == "altered"
    assert "does not fit" in forged.problems[0].what


def test_a_seal_by_a_key_that_is_newer_than_its_packets_brings_the_key_along():
    newer = fix_review.Signer(4, "key_" + "4" * 32)
    data = fix_review.archive(fix_review.completed(), signer=newer)
    found = verify_archive.verify_archive(data)
    assert (found.status, found.problems) == ("intact_signer_unknown", ())
    liar = fix_review.Signer(3, newer.key_id)
    forged = fix_review.archive(fix_review.completed(), signer=liar, public_key=newer.public_keys()[newer.key_id])
    assert verify_archive.verify_archive(forged).status == "altered"
    assert verify_archive.verify_archive(data, trust=TRUST).status == "wrong_signer", "it vouches for nobody"


def test_a_key_in_a_seal_takes_no_place_of_one_that_packets_bring_along():
    liar = fix_review.Signer(3, fix_review.Signer().key_id)
    forged = verify_archive.verify_archive(fix_review.archive(fix_review.completed(), signer=liar))
    assert forged.status == "altered"


def test_a_seal_that_nothing_can_check_is_told_of():
    stranger = fix_review.Signer(4, "key_" + "4" * 32)
    for stories in ((), (fix_review.completed(),)):
        found = verify_archive.verify_archive(older(fix_review.archive(*stories, signer=stranger), stranger))
        assert found.status == "wrong_signer"
        assert f"signed by {stranger.key_id}, whose key neither it nor a packet brings along" in found.problems[0].what


def test_beginnings_inside_a_damaged_piece_are_not_all_tried():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(b"\0" * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff" * verify_archive.CHUNK
    head, count, data = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff", 1_000, b""
    # Each beginning leads past all others, to the same that is damaged only in the end.
    for after in range(count):
        data = head + b"\0" + (15 * after).to_bytes(2, "little") + (0xFFFF - 15 * after).to_bytes(2, "little") + data
    verdict = verify_archive.verify_archive(data + bomb + WHOLE, trust=TRUST)
    assert verdict.packets < 20
    assert verdict.packets - verdict.unproven == 2, "the rest is checked"


def test_pieces_beside_damaged_ones_are_checked():
    packets = [archive.pack(fix_review.completed().packet()) for _ in range(100)]
    spoilt = [
        bytes([*each[:200], each[200] ^ 1, *each[201:]]) if number % 4 else each for number, each in enumerate(packets)
    ]
    verdict = verify_archive.verify_archive(b"".join(spoilt), trust=TRUST)
    assert (verdict.packets, verdict.unproven) == (100, 75)


def test_without_keys_that_one_trusts_nothing_is_proven():
    verdict = verify_archive.verify_archive(WHOLE)
    assert (verdict.packets, verdict.unproven, verdict.amiss, verdict.failed) == (2, 2, 0, ())


def test_how_many_packets_are_missing_is_told():
    whole = [archive.pack(fix_review.completed().packet()) for _ in range(3)]
    data = fix_review.archive(*[fix_review.completed() for _ in range(3)])
    assert data.startswith(b"".join(whole))
    found = verify_archive.verify_archive(data[len(whole[0]) :], trust=TRUST)
    told = found.problems[0].what
    assert told.startswith("it has 2 packets, and 3 were sealed: 1 is missing, and nothing in the file tells where")
