"""The surgery document's frames, good and bad, and the talk of one socket."""

import json
import uuid
from collections.abc import Callable

import pytest

from project.tests.live.raw import BINARY, RawWebSocket
from project.tests.live.surgeons import assert_refused, movement, new_surgeon, saved_id, stored

Simulate = Callable[..., RawWebSocket]

# --- Frames ---------------------------------------------------------------------------------


def frame(**changes: str) -> str:
    """Return a good frame as JSON text, with the text of some values replaced."""
    values = {"coordinates": "[1,2,3]", "event": '"NONE"', "timestamp": "1710523456789", **changes}
    return "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"


BAD_FRAMES = {
    "empty": "",
    "a blank": " ",
    "no JSON": "START",
    "cut short": '{"coordinates":[1,2,3],"event":"NONE"',
    "two values": frame() + frame(),
    "a comma too many": frame().replace("}", ",}"),
    "single quotes": frame().replace('"', "'"),
    "a byte order mark": "\ufeff" + frame(),
    "a number": "1",
    "a text": '"START"',
    "null": "null",
    "true": "true",
    "a list": f"[{frame()}]",
    "an empty object": "{}",
    "8,000 levels of lists": "[" * 8000,
    "levels closed again": "[" * 4000 + "]" * 4000,
    "levels of objects": '{"a":' * 1500,
    "levels in an unknown field": frame(extra="[" * 4000 + "]" * 4000),
    "no coordinates": '{"event":"NONE","timestamp":1}',
    "coordinates null": frame(coordinates="null"),
    "coordinates empty": frame(coordinates="[]"),
    "one coordinate": frame(coordinates="[1]"),
    "four coordinates": frame(coordinates="[1,2,3,4]"),
    "a coordinate null": frame(coordinates="[1,null,3]"),
    "a coordinate that is text": frame(coordinates='[1,"2",3]'),
    "a coordinate that is a bool": frame(coordinates="[1,true,3]"),
    "a coordinate that is a list": frame(coordinates="[[1],2,3]"),
    "coordinates that are an object": frame(coordinates='{"x":1,"y":2,"z":3}'),
    "coordinates that are text": frame(coordinates='"1,2,3"'),
    "NaN": frame(coordinates="[NaN,2,3]"),
    "Infinity": frame(coordinates="[1,Infinity,3]"),
    "-Infinity": frame(coordinates="[1,-Infinity,3]"),
    "1e999": frame(coordinates="[1e999,2,3]"),
    "-1e999": frame(coordinates="[1,2,-1e999]"),
    "a number of 350 digits": frame(coordinates=f"[{'9' * 350},2,3]"),
    "a number of 5,000 digits": frame(coordinates=f"[{'9' * 5000},2,3]"),
    "a hexadecimal number": frame(coordinates="[0x10,2,3]"),
    "a number with a plus": frame(coordinates="[+1,2,3]"),
    "no event": '{"coordinates":[1,2,3],"timestamp":1}',
    "an unknown event": frame(event='"MOVE"'),
    "an event in small letters": frame(event='"start"'),
    "an event null": frame(event="null"),
    "an event that is a number": frame(event="1"),
    "an event that is a list": frame(event='["NONE"]'),
    "an event that is a lone surrogate": frame(event='"\\ud800"'),
    "no timestamp": '{"coordinates":[1,2,3],"event":"NONE"}',
    "timestamp null": frame(timestamp="null"),
    "timestamp 0": frame(timestamp="0"),
    "timestamp -1": frame(timestamp="-1"),
    "timestamp 2**63": frame(timestamp=str(2**63)),
    "timestamp 2**64": frame(timestamp=str(2**64)),
    "timestamp 1.5": frame(timestamp="1.5"),
    "timestamp true": frame(timestamp="true"),
    "timestamp that is text": frame(timestamp='"1710523456789"'),
    "timestamp in ISO 8601": frame(timestamp='"2026-03-05T10:30:00Z"'),
}


@pytest.mark.parametrize("text", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_bad_frame_is_closed_with_1003(simulate: Simulate, text: str) -> None:
    ws = simulate()
    ws.send_text(text)
    assert_refused(ws.ending(), 1003)


@pytest.mark.parametrize("payload", [b"", frame().encode(), b"\x00\xff"])
def test_a_binary_frame_is_closed_with_1003(simulate: Simulate, payload: bytes) -> None:
    ws = simulate()
    ws.send_frame(BINARY, payload)
    assert_refused(ws.ending(), 1003)


def test_nothing_that_came_before_a_bad_frame_is_lost(
    simulate: Simulate,
) -> None:
    surgery_id = uuid.uuid4()
    ws = simulate(new_surgeon(), surgery=str(surgery_id))
    ws.send_json(movement("START"))
    ws.send_text("nonsense")
    assert_refused(ws.ending(), 1003)
    assert [each["event"] for each in stored(surgery_id)] == ["START"]


GOOD_FRAMES = {
    "two coordinates": frame(coordinates="[1,2]"),
    "negative": frame(coordinates="[-1,-2.5,-3e-7]"),
    "large": frame(coordinates="[1e308,-1e308,0]"),
    "negative zero": frame(coordinates="[-0.0,0,-0]"),
    "whole numbers": frame(coordinates="[1,2,3]"),
    "timestamp 1": frame(timestamp="1"),
    "timestamp 2**63 - 1": frame(timestamp=str(2**63 - 1)),
    "unknown fields": frame(type='"websocket.disconnect"', id="null", more='{"a":[1]}'),
    "blanks": frame().replace(":", " :\n").replace(",", " ,\t"),
    "escapes": frame(event='"\\u004eONE"'),
}


@pytest.mark.parametrize("text", GOOD_FRAMES.values(), ids=GOOD_FRAMES)
def test_a_good_frame_is_stored_as_it_came(simulate: Simulate, text: str) -> None:
    ws = simulate(new_surgeon())
    ws.send_text(text)
    ws.send_json(movement("FINISH"))
    frames = stored(saved_id(ws.read()))
    sent = json.loads(text)
    assert len(frames) == 2
    assert {name: sent[name] for name in frames[0]} == frames[0]


# --- The conversation -----------------------------------------------------------------------


def test_an_operation_is_answered_once_with_the_documents_bytes(
    simulate: Simulate,
) -> None:
    username = new_surgeon()
    ws = simulate(username)
    sent = [
        movement(event)
        for event in (
            "START",
            "NONE",
            "TUMOR_TOUCH",
            "TUMOR_REMOVAL",
            "KIDNEY_TOUCH",
            "HEMORRHAGE",
            "FINISH",
        )
    ]
    for each in sent:
        ws.send_json(each)
    answer = ws.read()
    surgery_id = saved_id(answer)
    assert answer == b'{"status":"SAVED", "surgeryId":"%s"}' % str(surgery_id).encode()
    assert stored(surgery_id) == sent
    assert ws.messages(seconds=0.3) == []
    assert ws.close().code == 1000


def test_ten_thousand_levels_of_nesting_are_too_big(simulate: Simulate) -> None:
    ws = simulate()
    ws.send_text("[" * 10_000)
    assert_refused(ws.ending(), 1009)


def test_the_first_frame_of_any_event_starts_an_operation(
    simulate: Simulate,
) -> None:
    ws = simulate(new_surgeon())
    ws.send_json(movement("NONE"))
    ws.send_json(movement("FINISH"))
    assert len(stored(saved_id(ws.read()))) == 2


def test_a_finish_alone_is_an_operation_of_one_frame(
    simulate: Simulate,
) -> None:
    ws = simulate(new_surgeon())
    ws.send_json(movement("FINISH"))
    assert len(stored(saved_id(ws.read()))) == 1


def test_a_second_start_is_one_more_frame(simulate: Simulate) -> None:
    ws = simulate(new_surgeon())
    for event in ("START", "START", "FINISH"):
        ws.send_json(movement(event))
    assert len(stored(saved_id(ws.read()))) == 3


def test_the_next_frame_after_finish_begins_another_operation(
    simulate: Simulate,
) -> None:
    ws = simulate(new_surgeon())
    found = set()
    for number in range(3):
        ws.send_json(movement("START"))
        ws.send_json(movement("FINISH", timestamp=1000 + number))
        found.add(saved_id(ws.read()))
    assert len(found) == 3
    assert [len(stored(surgery_id)) for surgery_id in found] == [2, 2, 2]


def test_several_sockets_of_a_surgeon_are_independent_operations(
    simulate: Simulate,
) -> None:
    username = new_surgeon()
    sockets = [simulate(username) for _ in range(3)]
    for number, ws in enumerate(sockets):
        for _ in range(number):
            ws.send_json(movement())
    for ws in sockets:
        ws.send_json(movement("FINISH"))
    assert [len(stored(saved_id(ws.read()))) for ws in sockets] == [1, 2, 3]


def test_an_idle_socket_outlives_every_timeout_of_redis(
    simulate: Simulate,
) -> None:
    ws = simulate(new_surgeon())
    ws.send_json(movement("START"))
    assert ws.messages(seconds=12) == []
    ws.send_json(movement("FINISH"))
    assert len(stored(saved_id(ws.read()))) == 2
