"""HTTP/2 without I/O: whatever a peer says, an exchange goes on or ends as lanes do, and nothing breaks."""

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.lanes.http2_session import Session

FRAMES: list[Frame] = [
    HeadersFrame(1, b"\x88", flags=["END_HEADERS"]),
    HeadersFrame(1, b"\x88", flags=["END_HEADERS", "END_STREAM"]),
    HeadersFrame(1, b"\x88"),
    HeadersFrame(1, b"\x08\x03103", flags=["END_HEADERS"]),
    HeadersFrame(3, b"\x88\x40\x01a\x01b", flags=["END_HEADERS", "PADDED"], pad_length=3),
    ContinuationFrame(1, flags=["END_HEADERS"]),
    DataFrame(1, b"abc"),
    DataFrame(1, b"x" * 16_384),
    DataFrame(1, b"", flags=["END_STREAM"]),
    DataFrame(3, b"abc", flags=["END_STREAM", "PADDED"], pad_length=5),
    RstStreamFrame(1, error_code=7),
    RstStreamFrame(3, error_code=8),
    GoAwayFrame(0, last_stream_id=0),
    GoAwayFrame(0, last_stream_id=1, error_code=2),
    SettingsFrame(0, {1: 0, 2: 0, 3: 5, 4: 0, 5: 16_384, 6: 10}),
    SettingsFrame(0, {4: 2**31 - 1}),
    SettingsFrame(0, flags=["ACK"]),
    WindowUpdateFrame(0, window_increment=2**31 - 70_000),
    WindowUpdateFrame(1, window_increment=5),
    PriorityFrame(1, depends_on=1),
    PingFrame(0, b"x" * 8),
    PushPromiseFrame(1, 2, b"\x82", flags=["END_HEADERS"]),
]


@st.composite
def said(draw: st.DrawFn) -> bytes:
    """Frames, some of them spoilt."""
    data = bytearray(b"".join(frame.serialize() for frame in draw(st.lists(st.sampled_from(FRAMES), max_size=12))))
    for _ in range(draw(st.integers(0, 3)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@given(said(), st.booleans(), st.lists(st.booleans(), min_size=2, max_size=2), st.integers(1, 5))
def test_whatever_a_peer_says(data: bytes, greeted: bool, whole: list[bool], frames: int):
    left: list[bytes] = []
    session = Session(left.append, lambda: 0)
    if greeted:
        session.hear(SettingsFrame(0).serialize())
        assert not session.turn(frames) or not session.turn(frames)
    streams = [session.begin("http", "POST", "/", [(b"host", b"a")], ends=ends)[0] for ends in whole]
    session.hear(data)
    while session.turn(frames):
        pass
    assert session.violation is None or all(stream.over for stream in streams)
    for stream, ends in zip(streams, whole, strict=True):
        assert not (stream.rejected and stream.head)
        assert stream.failure is None or stream.failure.failure.effect != "none"
        session.take(stream)
        if not ends and (window := session.window(stream)) > 0:
            left.append(session.data(stream, b"x" * min(window, 5), ends=True))
        session.let_go(stream)
    session.close()
    session.end(broke=True)
    assert session.room == 0
