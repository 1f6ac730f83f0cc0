"""Frames, read back by a parser that is not ours: that of the websockets library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Opcode
from websockets.frames import Frame as ParsedFrame
from websockets.protocol import Protocol, Side, State

from realtime.core.codes import CloseCode
from realtime.core.frames import REASON_BYTES, Frame, close_wire, cut_reason

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
