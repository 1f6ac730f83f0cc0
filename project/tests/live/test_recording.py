"""One operation over several connections: repeated, resumed, taken over, interrupted."""

import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from devices.models import Surgery
from project.tests.live.raw import Ended, RawWebSocket, Silence, frame
from project.tests.live.server import Server
from project.tests.live.surgeons import (
    assert_refused,
    eventually,
    movement,
    new_surgeon,
    saved_id,
    status_of,
    stored,
)

Simulate = Callable[..., RawWebSocket]


@pytest.fixture
def surgeon() -> str:
    """Return a surgeon of the test's own."""
    return new_surgeon()


@pytest.fixture
def surgery() -> str:
    """Return an id that a client chooses for its operation."""
    return str(uuid.uuid4())


# --- Repeated -------------------------------------------------------------------------------


def test_a_finish_sent_again_gets_the_same_answer(simulate: Simulate, surgeon: str) -> None:
    ws = simulate(surgeon)
    finish = movement("FINISH")
    ws.send_json(movement("START"))
    ws.send_json(finish)
    first = ws.read()
    for _ in range(3):
        ws.send_json(finish)
        assert ws.read() == first
    assert len(stored(saved_id(first))) == 2
    assert Surgery.objects.filter(surgeon__username=surgeon).count() == 1


@pytest.mark.parametrize("change", [{"timestamp": 5}, {"coordinates": [0.0, 0.0, 0.5]}])
def test_a_finish_of_another_time_or_place_is_another_operation(
    simulate: Simulate, surgeon: str, change: dict[str, Any]
) -> None:
    ws = simulate(surgeon)
    finish = movement("FINISH")
    ws.send_json(finish)
    first = saved_id(ws.read())
    ws.send_json({**finish, **change})
    assert saved_id(ws.read()) != first


def test_the_finish_of_a_completed_operation_can_be_repeated_on_another_socket(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    finish = movement("FINISH")
    first = simulate(surgeon, surgery=surgery)
    first.send_json(movement("START"))
    first.send_json(finish)
    answer = first.read()
    again = simulate(surgeon, surgery=surgery)
    for _ in range(2):
        again.send_json(finish)
        assert again.read() == answer
    assert len(stored(saved_id(answer))) == 2


@pytest.mark.parametrize("event", ["NONE", "START", "FINISH"])
def test_a_completed_operation_takes_no_other_frame(
    simulate: Simulate, surgeon: str, surgery: str, event: str
) -> None:
    first = simulate(surgeon, surgery=surgery)
    first.send_json(movement("FINISH", timestamp=1000))
    saved_id(first.read())
    again = simulate(surgeon, surgery=surgery)
    again.send_json(movement(event, timestamp=2000))
    assert_refused(again.ending(), 1008)
    assert len(stored(uuid.UUID(surgery))) == 1


# --- Resumed --------------------------------------------------------------------------------


def test_the_client_chooses_the_id(simulate: Simulate, surgeon: str, surgery: str) -> None:
    ws = simulate(surgeon, surgery=surgery)
    ws.send_json(movement("FINISH"))
    assert str(saved_id(ws.read())) == surgery


def test_after_finish_the_next_operation_has_an_id_of_the_servers(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    ws = simulate(surgeon, surgery=surgery)
    ws.send_json(movement("FINISH", timestamp=1))
    assert str(saved_id(ws.read())) == surgery
    ws.send_json(movement("FINISH", timestamp=2))
    assert str(saved_id(ws.read())) != surgery


@pytest.mark.parametrize("value", ["", "7", "not-a-uuid", "x" * 2000, "%00", "%ff"])
def test_an_id_that_is_none_is_closed_with_1003(
    server: Server, connect: Callable[..., RawWebSocket], surgeon: str, value: str
) -> None:
    url = server.ws_url("/ws/simulation", token=server.token_for(surgeon)) + f"&surgery={value}"
    assert_refused(connect(url).ending(), 1003)


def test_a_dropped_operation_goes_on_where_it_was(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    sent = [movement(timestamp=number) for number in range(1, 301)]
    for end in (100, 200, 300):
        ws = simulate(surgeon, surgery=surgery)
        for each in sent[end - 100 : end]:
            ws.send_json(each)
        eventually(lambda end=end: len(stored(uuid.UUID(surgery))) == end)
        ws.drop()
    ws = simulate(surgeon, surgery=surgery)
    finish = movement("FINISH", timestamp=301)
    ws.send_json(finish)
    assert str(saved_id(ws.read())) == surgery
    assert stored(uuid.UUID(surgery)) == [*sent, finish]
    call_command("verify_surgery", surgery)


def test_a_recording_cut_at_any_byte_keeps_every_whole_frame(
    simulate: Simulate, surgeon: str, surgery: str, soak: int
) -> None:
    dice = random.Random(7)
    sent: list[dict[str, Any]] = []
    for _ in range(6 * soak):
        ws = simulate(surgeon, surgery=surgery)
        sent.append(movement(timestamp=len(sent) + 1))
        ws.send_json(sent[-1])
        eventually(lambda: len(stored(uuid.UUID(surgery))) == len(sent))
        for _ in range(dice.randrange(150)):
            sent.append(movement(timestamp=len(sent) + 1))
            ws.send_json(sent[-1])
        rest = frame(0x1, b'{"coordinates":[1,2,3],"event":"NONE","timestamp":1}')
        ws.send(rest[: dice.randrange(len(rest))])
        ws.drop()
    ws = simulate(surgeon, surgery=surgery)
    ws.send_json(movement("FINISH"))
    saved_id(ws.read())
    assert stored(uuid.UUID(surgery))[:-1] == sent
    call_command("verify_surgery", surgery)


def test_of_connections_in_quick_succession_the_last_has_the_operation(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    for _ in range(5):
        ws = simulate(surgeon, surgery=surgery)
        ws.send_json(movement())
        ws.drop()
    ws = simulate(surgeon, surgery=surgery)
    ws.send_json(movement("FINISH"))
    assert str(saved_id(ws.read())) == surgery
    call_command("verify_surgery", surgery)


def test_a_reset_connection_leaves_no_gap_and_no_double(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    sent = 0
    for _ in range(10):
        ws = simulate(surgeon, surgery=surgery)
        for _ in range(100):
            sent += 1
            ws.send_json(movement(timestamp=sent))
        ws.reset()
    ws = simulate(surgeon, surgery=surgery)
    ws.send_json(movement("FINISH", timestamp=sent + 1))
    saved_id(ws.read())
    times = [each["timestamp"] for each in stored(uuid.UUID(surgery))]
    assert times == sorted(set(times))
    call_command("verify_surgery", surgery)


@pytest.mark.parametrize("state", ["in progress", "completed"])
def test_anothers_operation_is_closed_with_1008(
    simulate: Simulate, surgeon: str, surgery: str, state: str
) -> None:
    first = simulate(surgeon, surgery=surgery)
    first.send_json(movement("START" if state == "in progress" else "FINISH"))
    eventually(lambda: Surgery.objects.filter(pk=surgery).exists())
    assert_refused(simulate(new_surgeon(), surgery=surgery).ending(), 1008)
    if state == "in progress":
        first.send_json(movement("FINISH"))
        assert str(saved_id(first.read())) == surgery


def test_an_id_that_another_surgeon_takes_meanwhile_is_closed_with_1008(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    waiting = simulate(surgeon, surgery=surgery)
    quicker = simulate(new_surgeon(), surgery=surgery)
    quicker.send_json(movement("FINISH"))
    assert str(saved_id(quicker.read())) == surgery
    waiting.send_json(movement("START"))
    assert_refused(waiting.ending(), 1008)


# --- Taken over -----------------------------------------------------------------------------


def test_a_second_socket_takes_over_and_the_first_is_closed_with_1008(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    first = simulate(surgeon, surgery=surgery)
    for number in range(1, 101):
        first.send_json(movement(timestamp=number))
    eventually(lambda: stored(uuid.UUID(surgery)))
    second = simulate(surgeon, surgery=surgery)
    assert_refused(first.ending(), 1008)
    second.send_json(movement("FINISH", timestamp=101))
    assert str(saved_id(second.read())) == surgery
    assert [each["timestamp"] for each in stored(uuid.UUID(surgery))] == [*range(1, 102)]


def test_two_sockets_that_begin_the_same_operation_end_with_one_that_has_it(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    first, second = (simulate(surgeon, surgery=surgery) for _ in range(2))
    first.send_json(movement("START"))
    eventually(lambda: stored(uuid.UUID(surgery)))
    second.send_json(movement("FINISH"))
    assert str(saved_id(second.read())) == surgery
    assert_refused(first.ending(), 1008)
    assert len(stored(uuid.UUID(surgery))) == 2


def test_a_takeover_in_the_middle_of_a_flood_leaves_no_gap_and_no_double(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    sockets, sent = [], 0
    for _ in range(5):
        sockets.append(simulate(surgeon, surgery=surgery))
        for _ in range(500):
            sent += 1
            sockets[-1].send_json(movement(timestamp=sent))
    for ws in sockets[:-1]:
        assert_refused(ws.ending(), 1008)
    sockets[-1].send_json(movement("FINISH", timestamp=sent + 1))
    assert str(saved_id(sockets[-1].read())) == surgery
    times = [each["timestamp"] for each in stored(uuid.UUID(surgery))]
    assert times == sorted(set(times))
    call_command("verify_surgery", surgery)


def test_of_many_sockets_at_once_one_keeps_the_operation(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    first = simulate(surgeon, surgery=surgery)
    first.send_json(movement("START"))
    rivals = [simulate(surgeon, surgery=surgery) for _ in range(8)]
    for ws in rivals:
        ws.send_json(movement("FINISH"))
    answers = set()
    for ws in rivals:
        try:
            answers.add(str(saved_id(ws.read())))
        except Ended as ended:
            assert_refused(ended.ending, 1008)
    assert answers == {surgery}
    assert_refused(first.ending(), 1008)
    assert status_of(surgery) == "completed"
    call_command("verify_surgery", surgery)


# --- Interrupted ----------------------------------------------------------------------------


def test_an_operation_whose_surgeon_stays_away_is_interrupted_and_can_be_reopened(
    server: Server, simulate: Simulate, surgeon: str, surgery: str
) -> None:
    ws = simulate(surgeon, surgery=surgery)
    for number in range(1, 51):
        ws.send_json(movement(timestamp=number))
    ws.drop()
    eventually(lambda: len(stored(uuid.UUID(surgery))) == 50)
    assert status_of(surgery) == "in_progress"
    eventually(lambda: status_of(surgery) == "interrupted", within=20)
    status, page = server.request(
        "GET", "/api/v1/surgeries?status=interrupted", token=server.token_for(surgeon)
    )
    assert (status, [item["surgeryId"] for item in page["items"]]) == (200, [surgery])

    again = simulate(surgeon, surgery=surgery)
    again.send_json(movement(timestamp=51))
    eventually(lambda: status_of(surgery) == "in_progress")
    again.send_json(movement("FINISH", timestamp=52))
    assert str(saved_id(again.read())) == surgery
    assert [each["timestamp"] for each in stored(uuid.UUID(surgery))] == [*range(1, 53)]


def test_an_open_socket_is_never_interrupted_however_silent(
    simulate: Simulate, surgeon: str, surgery: str
) -> None:
    ws = simulate(surgeon, surgery=surgery)
    ws.send_json(movement("START"))
    with pytest.raises(Silence):
        ws.read(within=9)
    assert status_of(surgery) == "in_progress"
