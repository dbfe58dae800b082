"""Frames between a node and a far side: whole and in order, or refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.lanes.places import frames, handshake

KINDS = st.binary(min_size=1, max_size=1)
SAID = st.lists(st.tuples(KINDS, st.binary(max_size=200)), max_size=8)


def pair(*, sealed: bool) -> tuple[frames.Frames, frames.Frames]:
    near, far = frames.Frames(), frames.Frames()
    if sealed:
        near.seal(ours=b"n" * 32, theirs=b"f" * 32)
        far.seal(ours=b"f" * 32, theirs=b"n" * 32)
    return near, far


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(places)]


@given(SAID, st.lists(st.integers(0, 2000)), st.booleans())
def test_what_is_said_is_heard_however_it_is_cut(said: list[tuple[bytes, bytes]], cuts: list[int], sealed: bool):
    near, far = pair(sealed=sealed)
    data = b"".join(near.encode(kind, content) for kind, content in said)
    assert [frame for piece in pieces(data, cuts) for frame in far.feed(piece)] == said


@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_frames_or_refused_and_never_more(data: bytes, sealed: bool):
    _near, far = pair(sealed=sealed)
    try:
        heard = list(far.feed(data))
    except frames.BadFrame:
        return
    assert sum(len(content) + 5 for _kind, content in heard) <= len(data)
    assert not (sealed and heard)


@given(SAID.filter(bool), st.data())
def test_of_sealed_frames_none_is_changed_repeated_or_left_out(said: list[tuple[bytes, bytes]], data: st.DataObject):
    near, far = pair(sealed=True)
    sent = [near.encode(kind, content) for kind, content in said]
    number = data.draw(st.integers(0, len(sent) - 1))
    how = data.draw(st.sampled_from(["change", "repeat", "omit", "reflect"]))
    if how == "change":
        at = data.draw(st.integers(4, len(sent[number]) - 1))
        sent[number] = sent[number][:at] + bytes([sent[number][at] ^ 1]) + sent[number][at + 1 :]
    elif how == "repeat":
        sent.insert(number, sent[number])
    elif how == "omit":
        sent[number : number + 1] = [] if number + 1 < len(sent) else [near.encode(b"z")]
    else:
        sent[number] = far.encode(*said[number])
    heard: list[tuple[bytes, bytes]] = []
    with pytest.raises(frames.BadFrame):
        heard.extend(frame for each in sent for frame in far.feed(each))
    assert heard == said[: len(heard)]


@pytest.mark.parametrize("length", [0, frames.MAX_FRAME + 1, 2**32 - 1])
def test_a_length_that_cannot_be_is_refused_before_anything_is_kept(length: int):
    with pytest.raises(frames.BadFrame):
        list(frames.Frames().feed(length.to_bytes(4, "big")))


@given(
    st.lists(st.binary(max_size=20), max_size=4), st.lists(st.binary(max_size=20), max_size=4), st.binary(max_size=8)
)
def test_a_proof_is_of_this_token_this_role_and_these_words(one: list[bytes], other: list[bytes], role: bytes):
    proof = handshake.prove(b"token", role, *one)
    assert handshake.agrees(proof, b"token", role, *one)
    assert handshake.agrees(proof, b"token", role, *other) is (one == other)
    assert not handshake.agrees(proof, b"tokem", role, *one)
    assert not handshake.agrees(proof, b"token", role + b"x", *one)


def test_a_token_that_could_be_guessed_is_refused():
    assert handshake.read_token(b" " + b"x" * 32 + b"\n") == b"x" * 32
    with pytest.raises(ValueError, match="at least 32 bytes"):
        handshake.read_token(b"x" * 31)
