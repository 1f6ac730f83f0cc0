"""Cells that no spreadsheet calculates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.spreadsheets import disarm, rearm

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "=cmd|' /C calc'!A0",
    "'=1",
    "''=1",
    "-",
]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_formula_is_a_text_after_a_quote(cell: str) -> None:
    assert disarm(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["", "-5", "+5.5", "-1e308", "Zone A", "'tis", "1-1", 5, -5.5, None]
)
def test_what_is_no_formula_stays_as_it_is(cell: object) -> None:
    assert disarm(cell) == cell
    assert rearm(cell) == cell


@given(st.text(alphabet="'=+-@\t a1"))
def test_every_text_comes_back(text: str) -> None:
    assert rearm(disarm(text)) == text
