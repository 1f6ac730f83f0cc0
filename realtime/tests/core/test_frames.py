"""Frames, read back by a parser that is not ours: that of the websockets library."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Opcode
from websockets.frames import Frame as ParsedFrame
from websockets.protocol import Protocol, Side, State

from realtime.core import frames
from realtime.core.codes import CloseCode
from realtime.core.deflate import PACKED_MAX, TAIL
from realtime.core.frames import (
    REASON_BYTES,
    Frame,
    close_wire,
    cut_reason,
    payload_of,
    wire_bytes,
)

# Where the length field of a frame changes its size.
BORDERS = [0, 1, 125, 126, 127, 65_535, 65_536]


def parsed(wire: bytes) -> list[ParsedFrame]:
    client = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
    client.receive_data(wire)
    assert client.parser_exc is None
    return client.events_received()


@pytest.mark.parametrize("length", BORDERS)
def test_a_frame_of_any_length_is_read_back(length: int) -> None:
    payload = b"x" * length
    assert parsed(Frame(payload).wire) == [ParsedFrame(Opcode.TEXT, payload)]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=5))
def test_frames_written_one_after_another_are_read_back(texts: list[str]) -> None:
    wire = b"".join(Frame(text.encode()).wire for text in texts)
    assert [frame.data.decode() for frame in parsed(wire)] == texts


@given(st.binary(max_size=70_000))
def test_a_frame_knows_its_payload(payload: bytes) -> None:
    assert Frame(payload).payload == payload


@given(st.sampled_from([code for code in CloseCode if code != CloseCode.ABNORMAL]), st.text())
def test_a_close_frame_is_read_back_with_its_code(code: CloseCode, reason: str) -> None:
    (frame,) = parsed(close_wire(code, reason))
    assert frame.opcode is Opcode.CLOSE
    close = Close.parse(frame.data)
    assert close.code == code
    assert close.reason.encode() == cut_reason(reason)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_reason_is_cut_at_the_end_of_a_character(reason: str) -> None:
    kept = cut_reason(reason).decode()
    assert reason.startswith(kept)
    is_whole = len(reason.encode()) <= REASON_BYTES
    assert (kept == reason) == is_whole
    # What was cut off would not have fitted.
    assert is_whole or len((kept + reason[len(kept)]).encode()) > REASON_BYTES


def test_a_lone_surrogate_in_a_reason_does_no_harm() -> None:
    assert cut_reason("bad \ud800 token") == b"bad ? token"


# --- Packed --------------------------------------------------------------------------------


def unpacked_by_a_client(wire: bytes, *, bits: int = 15) -> bytes:
    """Return the payload of a packed frame, read by the library and by zlib."""
    client = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
    client.extensions = [PerMessageDeflate(True, True, bits, 15)]
    client.receive_data(wire)
    assert client.parser_exc is None
    (frame,) = client.events_received()
    return bytes(frame.data)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("length", [300, 5_000, 70_000, 200_000])
def test_a_packed_frame_is_read_back_and_is_shorter(length: int, *, binary: bool) -> None:
    payload = (b'{"value":20.5,"unit":"C"}' * length)[:length]
    frame = Frame(payload, binary=binary)
    wire = frame.packed(15)
    assert wire[0] == frame.wire[0] | 0x40
    assert frame.is_binary is binary
    assert len(wire) < length / 4
    assert unpacked_by_a_client(wire) == payload
    assert payload_of(wire) == frame.payload == payload


@pytest.mark.parametrize("bits", range(9, 16))
def test_a_narrow_window_is_kept_to(bits: int) -> None:
    payload = bytes(range(256)) * 20 + b"x" * 40_000 + bytes(range(256)) * 20
    wire = Frame(payload).packed(bits)
    assert unpacked_by_a_client(wire, bits=bits) == payload
    assert zlib.decompressobj(-bits).decompress(wire[4:] + TAIL) == payload


def test_a_frame_is_packed_once_for_all_whose_window_is_wide_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packs = []
    pack = frames.packed
    monkeypatch.setattr(frames, "packed", lambda *given: packs.append(given) or pack(*given))
    frame = Frame(b"0123456789" * 100)
    wires = [frame.packed(bits) for bits in (15, 15, 12, 11)]
    assert all(wire is wires[0] for wire in wires)
    assert len(packs) == 1
    frame.packed(9)
    assert len(packs) == 2


def test_what_does_not_become_shorter_stays_plain() -> None:
    frame = Frame(random.Random(1).randbytes(600), binary=True)
    assert frame.packed(15) is frame.wire


def test_what_would_take_too_long_to_pack_stays_plain() -> None:
    frame = Frame(b"x" * (PACKED_MAX + 1))
    assert frame.packed(15) is frame.wire


@pytest.mark.parametrize("length", BORDERS)
def test_it_is_known_how_long_a_frame_will_be(length: int) -> None:
    assert wire_bytes(length) == len(Frame(b"x" * length).wire)
