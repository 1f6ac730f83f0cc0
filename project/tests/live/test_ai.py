"""What an AI service hears on /ws/ai: every completed operation, once."""

import uuid
from collections.abc import Callable

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from devices.models import TrajectoryChunk
from devices.services import surgeries
from devices.trajectory import Movement, chain, encode_movements
from project.tests.live.raw import BINARY, RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import movement, new_surgeon, saved_id
from realtime.models import JournalEntry

Connect = Callable[..., RawWebSocket]
CONNECTED = b'{"status":"connected","message":"IA conectada exitosamente"}'


def announcement(surgery_id: uuid.UUID) -> bytes:
    return b'{"event":"NEW_SURGERY","surgeryId":"%s"}' % str(surgery_id).encode()


def listen(connect: Connect, server: Server) -> RawWebSocket:
    """Open /ws/ai and read the confirmation, which is the first frame to the byte."""
    ws = connect(server.ws_url("/ws/ai", token=server.token_for("ia_justina")))
    assert ws.read() == CONNECTED
    return ws


def hear(ws: RawWebSocket, surgery_id: uuid.UUID) -> int:
    """Return how often the operation is announced: wait for one, then a little for more."""
    while ws.read() != announcement(surgery_id):
        pass
    later = {"event": "NEW_SURGERY", "surgeryId": str(surgery_id)}
    return 1 + ws.messages(seconds=0.4).count(later)


@pytest.fixture
def finish(simulate: Callable[..., RawWebSocket]) -> Callable[[], uuid.UUID]:
    """Return a function that operates from START to SAVED."""

    def operate() -> uuid.UUID:
        ws = simulate(new_surgeon())
        ws.send_json(movement("START"))
        ws.send_json(movement("FINISH"))
        return saved_id(ws.read())

    return operate


def analyse(server: Server, surgery_id: uuid.UUID) -> None:
    status, _ = server.request(
        "POST",
        f"/api/v1/surgeries/{surgery_id}/analysis",
        token=server.token_for("ia_justina"),
        body={"score": 85.5, "feedback": "Bien"},
    )
    assert status == 204


def test_every_ai_socket_hears_of_an_operation_once(
    server: Server, connect: Connect, finish: Callable[[], uuid.UUID]
) -> None:
    listeners = [listen(connect, server) for _ in range(3)]
    surgery_id = finish()
    assert [hear(ws, surgery_id) for ws in listeners] == [1, 1, 1]


def test_a_repeated_finish_announces_nothing(
    server: Server, connect: Connect, simulate: Callable[..., RawWebSocket]
) -> None:
    listener = listen(connect, server)
    ws = simulate(new_surgeon())
    finish = movement("FINISH")
    ws.send_json(finish)
    surgery_id = saved_id(ws.read())
    ws.send_json(finish)
    assert saved_id(ws.read()) == surgery_id
    assert hear(listener, surgery_id) == 1


def test_what_rolls_back_is_announced_to_nobody(
    server: Server, connect: Connect, finish: Callable[[], uuid.UUID]
) -> None:
    """Log first, notify second: neither happens without the change itself."""
    listener = listen(connect, server)
    surgeon = User.objects.get(username=new_surgeon())
    surgery_id = uuid.uuid4()
    with transaction.atomic():
        recording = surgeries.start_surgery(
            surgery_id=surgery_id, surgeon_id=surgeon.pk, node="a test", now=timezone.now()
        )
        payload = encode_movements([Movement([1.0, 2.0], "FINISH", 1)])
        digest = chain(recording.digest, 0, payload)
        TrajectoryChunk.objects.create(
            surgery_id=surgery_id,
            seq=0,
            first=0,
            count=1,
            payload=payload,
            received_at=timezone.now(),
            digest=digest.hex(),
        )
        surgeries.finish_surgery(
            surgery_id=surgery_id,
            recording=recording.recording,
            chunks=1,
            digest=digest,
            now=timezone.now(),
        )
        transaction.set_rollback(True)
    heard = hear_until(listener, finish())
    assert announcement(surgery_id) not in heard
    assert not JournalEntry.objects.filter(topic__contains=str(surgery_id)).exists()


def hear_until(ws: RawWebSocket, surgery_id: uuid.UUID) -> list[bytes]:
    """Return everything that is said up to the announcement of this operation."""
    heard = []
    while announcement(surgery_id) not in heard:
        heard.append(ws.read())
    return heard


def test_what_an_ai_says_is_ignored(
    server: Server, connect: Connect, finish: Callable[[], uuid.UUID]
) -> None:
    listener = listen(connect, server)
    for text in ("", "hello", "{}", '{"event":"NEW_SURGERY"}', "[" * 8000):
        listener.send_text(text)
    listener.send_frame(BINARY, b"\x00\xff")
    assert hear(listener, finish()) == 1


def test_an_ai_that_was_away_is_told_when_it_comes(
    server: Server, connect: Connect, finish: Callable[[], uuid.UUID]
) -> None:
    missed = [finish() for _ in range(3)]
    listener = listen(connect, server)
    heard = [each["surgeryId"] for each in listener.messages(seconds=1)]
    assert [each for each in heard if uuid.UUID(each) in missed] == [str(each) for each in missed]


def test_what_is_analysed_is_not_told_again(
    server: Server, connect: Connect, finish: Callable[[], uuid.UUID]
) -> None:
    analysed, waiting = finish(), finish()
    analyse(server, analysed)
    heard = {each["surgeryId"] for each in listen(connect, server).messages(seconds=1)}
    assert str(analysed) not in heard
    assert str(waiting) in heard


def test_an_ai_that_comes_while_operations_end_hears_of_each_once(
    server: Server, connect: Connect, simulate: Callable[..., RawWebSocket], soak: int
) -> None:
    for _ in range(10 * soak):
        surgeon = simulate(new_surgeon())
        surgeon.send_json(movement("FINISH"))
        listener = listen(connect, server)
        surgery_id = saved_id(surgeon.read())
        assert hear(listener, surgery_id) == 1
        analyse(server, surgery_id)
