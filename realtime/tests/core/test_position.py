"""Positions are written and read back; nothing else is a position."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.errors import Invalid
from realtime.core.position import Position

epochs = st.text("0123456789abcdef-", min_size=1, max_size=16)


@given(epochs, st.integers(0, 10**18 - 1))
def test_what_is_written_is_read_back(epoch: str, n: int) -> None:
    position = Position(epoch, n)
    assert Position.parse(str(position)) == position


NO_POSITIONS = [
    *("", "-", "a", "a-", "-1", "a--", "a-b", "5"),
    *("a-1.0", "a-1e3", "a-1_000", "a- 1", "a-+1", "a-0x1", "a-٣", "a-\ud800"),
    "a-" + "9" * 19,
]


@pytest.mark.parametrize("text", NO_POSITIONS)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        Position.parse(text)
    assert refusal.value.field == "position"


@given(st.text())
def test_no_text_does_more_harm_than_being_refused(text: str) -> None:
    try:
        position = Position.parse(text)
    except Invalid:
        return
    assert position.epoch
    assert position.n >= 0
