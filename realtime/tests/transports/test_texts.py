"""Text frames that are taken at once, and what is left to the server's protocol code."""

import struct

import pytest

from realtime.transports.texts import SHORT_BYTES, text_at

MASK = b"\x12\x00\xff\x7f"


def frame(
    payload: bytes, *, first: int = 0x81, is_masked: bool = True, head: bytes | None = None
) -> bytes:
    """Return a client's frame; `head` in place of its two bytes and its length."""
    bit = 0x80 if is_masked else 0
    if head is None:
        if len(payload) < 126:
            head = bytes((first, bit | len(payload)))
        elif len(payload) < 65_536:
            head = struct.pack("!BBH", first, bit | 126, len(payload))
        else:
            head = struct.pack("!BBQ", first, bit | 127, len(payload))
    if not is_masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


@pytest.mark.parametrize("length", [1, 3, 125, 126, SHORT_BYTES, SHORT_BYTES + 1, 4_097, 65_535])
def test_whole_text_is_read_whatever_its_length(length: int) -> None:
    text = ("temperature 20 °C " * 4_000).encode()[:length].decode(errors="ignore")
    payload = text.encode().ljust(length, b".")
    wire = frame(payload)
    assert text_at(wire, 0, 0) == (payload.decode(), length, len(wire))


def test_one_text_follows_another() -> None:
    wire = frame(b"first") + frame("zweite °".encode())
    first = text_at(wire, 0, 0)
    assert first is not None
    assert text_at(wire, first[2], 0) == ("zweite °", 9, len(wire))
    assert text_at(wire, len(wire), 0) is None


def test_half_a_frame_is_left() -> None:
    for wire in (frame(b"hello"), frame(b"x" * 300)):
        for length in range(len(wire)):
            assert text_at(wire[:length], 0, 0) is None


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(0x01, id="the beginning of a fragmented text"),
        pytest.param(0x80, id="a continuation"),
        pytest.param(0x82, id="binary"),
        pytest.param(0x88, id="close"),
        pytest.param(0x89, id="ping"),
        pytest.param(0xC1, id="compressed"),
        pytest.param(0x83, id="reserved"),
    ],
)
def test_other_kinds_are_left(first: int) -> None:
    assert text_at(frame(b"hello", first=first), 0, 0) is None


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(frame(b"hello there", is_masked=False), id="not masked"),
        pytest.param(frame(b"x" * 300, is_masked=False), id="not masked and longer"),
        pytest.param(frame(b"hello", head=b"\x81\xfe\x00\x05"), id="length not minimal"),
        pytest.param(frame(b""), id="empty"),
        pytest.param(frame(b"x" * 65_536), id="eight bytes of length"),
        pytest.param(frame(b"\xc3"), id="text ends within a character"),
        pytest.param(frame(b"\xed\xa0\x80"), id="half a surrogate pair"),
        pytest.param(frame(b"\xc0\xaf"), id="longer than its shortest form"),
    ],
)
def test_rare_and_wrong_frames_are_left(wire: bytes) -> None:
    assert text_at(wire, 0, 0) is None


def test_text_above_the_limit_is_left() -> None:
    assert text_at(frame(b"hello"), 0, 5) is not None
    assert text_at(frame(b"hello!"), 0, 5) is None
