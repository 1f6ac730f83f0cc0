"""The surgery dialect's words: the document's examples, and everything that is none of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.codes import CloseCode
from realtime.core.errors import BadData
from realtime.core.frames import REASON_BYTES
from realtime.core.movement import Movement
from realtime.core.session import Gap
from realtime.dialects.surgery import schema
from realtime.dialects.surgery.schema import SurgeryDialect, parse
from realtime.tests.doubles import completed, moved, surgery_id_of

GOOD = {"coordinates": [10.5, 20.3, 15.7], "event": "NONE", "timestamp": 1710523456789}
EVENTS = [
    "NONE",
    "TUMOR_TOUCH",
    "HEMORRHAGE",
    "START",
    "FINISH",
    "TUMOR_REMOVAL",
    "KIDNEY_TOUCH",
]


def frame(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


def raw(**changes: str) -> str:
    """Return a frame whose named values are written as they stand, JSON or not."""
    values = {name: json.dumps(value) for name, value in GOOD.items()} | changes
    return "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"


# --- What surgeons send --------------------------------------------------------------------


def test_the_document_s_frame_is_read() -> None:
    text = '{"coordinates":[10.5,20.3,15.7],"event":"NONE","timestamp":1710523456789}'
    assert parse(text) == Movement([10.5, 20.3, 15.7], "NONE", 1710523456789)


@pytest.mark.parametrize("event", EVENTS)
def test_all_seven_events_are_read(event: str) -> None:
    assert parse(frame(event=event)).event == event


@pytest.mark.parametrize("coordinates", [[1, 2], [1, 2, 3], [-1.5, 0], [-0.0, 1e300], [1e-300, 2]])
def test_two_or_three_numbers_are_a_place(coordinates: list[float]) -> None:
    assert parse(frame(coordinates=coordinates)).coordinates == coordinates


@pytest.mark.parametrize("timestamp", [1, 1710523456789, 2**63 - 1])
def test_a_positive_whole_number_is_a_time(timestamp: int) -> None:
    assert parse(frame(timestamp=timestamp)).timestamp == timestamp


def test_fields_that_nobody_knows_are_ignored() -> None:
    assert parse(frame(mood="calm", userId="somebody else")) == parse(frame())


def test_space_and_order_do_not_matter() -> None:
    assert parse(json.dumps(dict(reversed(GOOD.items())), indent=2)) == parse(frame())


coordinates = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=3)


@given(coordinates, st.sampled_from(EVENTS), st.integers(1, 2**63 - 1))
def test_every_good_frame_is_read(place: list[float], event: str, timestamp: int) -> None:
    text = frame(coordinates=place, event=event, timestamp=timestamp)
    assert parse(text) == Movement(place, event, timestamp)  # type: ignore[arg-type]


# --- What is refused -----------------------------------------------------------------------

WRONG = {
    "coordinates": [
        "NaN",
        *("null", "true", '"1,2"', "{}", "5", "[]", "[1]", "[1,2,3,4]"),
        *('["1",2]', "[null,2]", "[true,2]", "[[1],2]", "[{},2]", '{"x":1,"y":2}'),
        *("[1e999,2]", "[-1e999,2]", f"[1{'0' * 350},2]"),
    ],
    "event": [
        *(
            "null",
            "5",
            "[]",
            "{}",
            "true",
            '""',
            '"none"',
            '"MOVE"',
            '"NONE "',
            '"websocket.close"',
        ),
    ],
    "timestamp": [
        *("null", "true", '"1710523456789"', "[]", "{}", "1.5", "0", "-1", "-0"),
        *(str(2**63), "1e999", "1" + "0" * 350, '"2026-03-05T10:30:00Z"'),
    ],
}
CASES = [(field, value) for field, values in WRONG.items() for value in values]


@pytest.mark.parametrize(
    ("field", "value"), CASES, ids=[f"{field}={value[:20]}" for field, value in CASES]
)
def test_a_wrong_value_is_bad_data_that_names_its_field(field: str, value: str) -> None:
    with pytest.raises(BadData) as refusal:
        parse(raw(**{field: value}))
    assert refusal.value.code == CloseCode.BAD_DATA
    if value != "NaN":
        assert field in refusal.value.reason


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field_is_named(field: str) -> None:
    text = json.dumps({name: value for name, value in GOOD.items() if name != field})
    with pytest.raises(BadData, match=field):
        parse(text)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "0x10", "01", ".5", "+1", "1_0"]
)
def test_what_json_does_not_know_as_a_number_is_refused(number: str) -> None:
    for changes in ({"coordinates": f"[{number},2]"}, {"timestamp": number}):
        with pytest.raises(BadData):
            parse(raw(**changes))


DEPTH = 10_000
NO_JSON = {
    "nothing": "",
    "a word": "hello",
    "half a frame": frame()[:-5],
    "two frames": frame() + frame(),
    "a comma too many": frame()[:-1] + ",}",
    "single quotes": frame().replace('"', "'"),
    "a byte order mark": "\ufeff" + frame(),
    "a NUL": frame() + "\x00",
    "a lone surrogate": raw(event='"\ud800"'),
    "an escaped lone surrogate": raw(event='"\\ud800"'),
    "an escaped lone surrogate for a name": raw()[:-1] + ',"\\udfff":1}',
    "a deep list beside": raw()[:-1] + ',"x":' + "[" * DEPTH + "]" * DEPTH + "}",
    "a deep object beside": raw()[:-1] + ',"x":' + '{"a":' * DEPTH + "1" + "}" * DEPTH + "}",
}
NO_FRAME = {
    "a list": "[]",
    "a number": "5",
    "a text": '"NONE"',
    "null": "null",
    "a list of frames": f"[{frame()}]",
    "a deep list": "[" * DEPTH,
    "a deep object": '{"coordinates":' * DEPTH,
    "an empty object": "{}",
}


@pytest.mark.parametrize("text", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_bad_data(text: str) -> None:
    with pytest.raises(BadData, match="not JSON"):
        parse(text)


@pytest.mark.parametrize("text", NO_FRAME.values(), ids=NO_FRAME)
def test_what_is_json_but_no_frame_is_bad_data(text: str) -> None:
    with pytest.raises(BadData):
        parse(text)


@given(st.text())
def test_no_text_does_more_harm_than_being_refused(text: str) -> None:
    with pytest.raises(BadData) as refusal:
        parse(text)
    assert refusal.value.reason


@pytest.mark.parametrize(("field", "value"), CASES)
def test_a_refusal_fits_into_a_close_frame(field: str, value: str) -> None:
    with pytest.raises(BadData) as refusal:
        parse(raw(**{field: value}))
    assert len(refusal.value.reason.encode()) <= REASON_BYTES


# --- What is answered ----------------------------------------------------------------------


def test_the_answer_to_finish_is_the_original_s_to_the_byte() -> None:
    surgery_id = surgery_id_of("one")
    assert schema.saved(surgery_id) == (
        b'{"status":"SAVED", "surgeryId":"' + str(surgery_id).encode() + b'"}'
    )
    assert json.loads(schema.saved(surgery_id))["surgeryId"] == str(surgery_id)


def test_the_confirmation_is_the_original_s() -> None:
    assert schema.CONNECTED == b'{"status":"connected","message":"IA conectada exitosamente"}'


def test_a_completed_operation_is_a_new_surgery() -> None:
    surgery_id = surgery_id_of("one")
    wire = b'{"event":"NEW_SURGERY","surgeryId":"' + str(surgery_id).encode() + b'"}'
    assert schema.new_surgery(surgery_id) == wire
    assert SurgeryDialect().render(completed(surgery="one"), "e-1") == wire


def test_these_clients_hear_of_nothing_else() -> None:
    dialect = SurgeryDialect()
    assert dialect.render(moved(), None) is None
    assert dialect.render_gap(Gap("surgeries", 5)) is None
