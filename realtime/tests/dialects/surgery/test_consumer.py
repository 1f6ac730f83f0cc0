"""The surgery dialect's order of talk, over sockets in memory and a real database."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from accounts import roles
from accounts.models import User
from accounts.tokens import issue_access
from devices import writer as writer_module
from devices.models import Surgery
from devices.services import surgeries
from devices.trajectory import Movement, decode_movements
from realtime import calls
from realtime.calls import call
from realtime.dialects.surgery import consumer as module
from realtime.dialects.surgery import recorder as recorder_module
from realtime.models import JournalEntry
from realtime.routing import websocket_application
from realtime.runtime import Runtime
from realtime.tests.test_broker import until
from realtime.tests.wire import Wire, turns

pytestmark = pytest.mark.django_db(transaction=True)


def frame(event: str = "NONE", timestamp: int = 1710523456789, **more: Any) -> str:
    return json.dumps(
        {"coordinates": [10.5, 20.3, 15.7], "event": event, "timestamp": timestamp, **more}
    )


FINISH = frame("FINISH", 1710523459999)


def account(username: str, role: str) -> str:
    """Create an account; return a token of it."""
    return issue_access(User.objects.create_user(username, role=role))


@pytest.fixture
async def grey() -> str:
    return await call(account, "dr grey", roles.SURGEON)


@pytest.fixture
async def analyst() -> str:
    return await call(account, "analyst", roles.AI)


async def operating(runtime: Runtime, token: str, surgery: UUID | str | None = None) -> Wire:
    query = f"token={token}" + (f"&surgery={surgery}" if surgery is not None else "")
    wire = Wire(path="/ws/simulation", query_string=query.encode())
    await wire.opened(websocket_application(runtime))
    return wire


async def listening(runtime: Runtime, token: str) -> Wire:
    wire = Wire(path="/ws/ai", query_string=f"token={token}".encode())
    await wire.opened(websocket_application(runtime))
    assert json.loads(await wire.hear()) == {
        "status": "connected",
        "message": "IA conectada exitosamente",
    }
    return wire


async def saved(wire: Wire) -> UUID:
    answer = json.loads(await wire.hear())
    assert answer["status"] == "SAVED"
    return UUID(answer["surgeryId"])


def _stored(surgery_id: UUID) -> tuple[str, list[Movement]]:
    surgery = Surgery.objects.get(pk=surgery_id)
    payloads = surgery.chunks.order_by("seq").values_list("payload", flat=True)
    return surgery.status, [m for payload in payloads for m in decode_movements(bytes(payload))]


async def stored(surgery_id: UUID) -> tuple[str, list[int]]:
    """Return the operation's status and the times of its frames."""
    status, movements = await call(_stored, surgery_id)
    return status, [movement.timestamp for movement in movements]


async def only_surgery() -> Surgery:
    return await call(Surgery.objects.get)


async def completions() -> int:
    return await call(JournalEntry.objects.filter(kind="SurgeryCompleted").count)


# --- An operation --------------------------------------------------------------------------


async def test_an_operation_is_stored_and_its_finish_answered(serving: Runtime, grey: str) -> None:
    wire = await operating(serving, grey)
    for timestamp in range(1, 101):
        wire.say(frame(timestamp=timestamp))
    wire.say(FINISH)
    surgery_id = await saved(wire)
    status, times = await stored(surgery_id)
    assert status == Surgery.Status.COMPLETED
    assert times == [*range(1, 101), 1710523459999]
    await wire.end()
    assert wire.outbound.empty()


async def test_the_socket_stays_open_for_the_next_operation(serving: Runtime, grey: str) -> None:
    wire = await operating(serving, grey)
    wire.say(FINISH)
    first = await saved(wire)
    wire.say(frame("START"))
    wire.say(frame("FINISH", 1710523460000))
    second = await saved(wire)
    assert first != second
    assert [len((await stored(each))[1]) for each in (first, second)] == [1, 2]
    await wire.end()


async def test_the_same_finish_again_gets_the_same_answer_and_announces_nothing(
    serving: Runtime, grey: str
) -> None:
    wire = await operating(serving, grey)
    wire.say(FINISH)
    surgery_id = await saved(wire)
    wire.say(FINISH)
    assert await saved(wire) == surgery_id
    assert await completions() == 1
    assert (await stored(surgery_id))[1] == [1710523459999]
    await wire.end()


async def test_two_sockets_of_one_surgeon_are_two_operations(serving: Runtime, grey: str) -> None:
    wires = [await operating(serving, grey) for _ in range(2)]
    for wire in wires:
        wire.say(FINISH)
    assert len({await saved(wire) for wire in wires}) == 2
    for wire in wires:
        await wire.end()


async def test_a_bad_frame_ends_with_1003_and_keeps_those_before_it(
    serving: Runtime, grey: str
) -> None:
    wire = await operating(serving, grey)
    wire.say(frame("START", 1))
    wire.say(frame("NONE", 2))
    wire.say(frame("MOVE", 3))
    code, reason = await wire.ending()
    assert code == 1003
    assert "event" in reason
    await wire.end()
    surgery = await only_surgery()
    assert (await stored(surgery.pk))[1] == [1, 2]


async def test_a_binary_frame_ends_with_1003(serving: Runtime, grey: str) -> None:
    wire = await operating(serving, grey)
    wire.say_bytes(frame().encode())
    assert (await wire.ending())[0] == 1003
    await wire.end()


async def test_the_ai_may_not_operate_and_a_surgeon_not_listen(
    serving: Runtime, grey: str, analyst: str
) -> None:
    for path, token in (("/ws/simulation", analyst), ("/ws/ai", grey)):
        wire = Wire(path=path, query_string=f"token={token}".encode())
        await wire.opened(websocket_application(serving))
        assert (await wire.ending())[0] == 1008
        await wire.end()


# --- Leaving -------------------------------------------------------------------------------


async def test_who_leaves_in_the_middle_leaves_everything_stored_and_lets_go(
    serving: Runtime, grey: str
) -> None:
    wire = await operating(serving, grey)
    for timestamp in range(1, 71):
        wire.say(frame(timestamp=timestamp))
    await wire.end()
    surgery = await only_surgery()
    assert await stored(surgery.pk) == (Surgery.Status.IN_PROGRESS, list(range(1, 71)))
    assert surgery.node == ""
    assert surgery.disconnected_at is not None
    assert not serving.recordings._holders


async def test_a_drain_stores_what_was_sent(serving: Runtime, grey: str) -> None:
    wire = await operating(serving, grey)
    for timestamp in range(1, 11):
        wire.say(frame(timestamp=timestamp))
    await until(lambda: bool(serving.recordings._holders))
    drain = asyncio.ensure_future(serving.drain())
    assert (await wire.ending())[0] == 1012
    wire.leave()
    await drain
    surgery = await only_surgery()
    assert surgery.node == ""
    assert (await stored(surgery.pk))[1]


async def test_a_database_that_is_away_while_letting_go_is_waited_for(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the operation would be this process's for ever, and never interrupted."""
    monkeypatch.setattr(calls, "AWAY_SECONDS", 0)
    problems = [OperationalError("connection refused")] * 3
    release = surgeries.release_surgery

    def release_when_back(**about: Any) -> None:
        if problems:
            raise problems.pop()
        release(**about)

    monkeypatch.setattr(surgeries, "release_surgery", release_when_back)
    wire = await operating(serving, grey)
    wire.say(frame("START"))
    await until(lambda: bool(serving.recordings._holders))
    await wire.end()
    while (await only_surgery()).node:
        await turns()
    assert not problems


class Gate:
    """Keeps a service from beginning until it is opened; it runs in another thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._service = getattr(surgeries, name)
        self._entered, self._opened = threading.Event(), threading.Event()
        monkeypatch.setattr(surgeries, name, self._pass)

    def _pass(self, **about: Any) -> Any:
        self._entered.set()
        assert self._opened.wait(10)
        return self._service(**about)

    async def reached(self) -> None:
        await until(self._entered.is_set)

    def open(self) -> None:
        self._opened.set()


async def cancelled(wire: Wire) -> None:
    """Cancel the application, as daphne does ten seconds after its peer has left."""
    assert wire.application is not None
    wire.application.cancel()
    await asyncio.wait({wire.application})


async def test_who_is_cancelled_while_the_database_is_slow_still_lets_go(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the row would name this living process for ever, and never be interrupted."""
    gate = Gate(monkeypatch, "release_surgery")
    wire = await operating(serving, grey)
    wire.say(frame("START", 1))
    await until(lambda: bool(serving.recordings._holders))
    wire.leave()
    await gate.reached()
    await cancelled(wire)
    assert (await only_surgery()).node == serving.node_id
    gate.open()
    await serving.recordings.wait_until_all_let_go()
    surgery = await only_surgery()
    assert (surgery.node, await stored(surgery.pk)) == ("", (Surgery.Status.IN_PROGRESS, [1]))


@pytest.mark.parametrize("service", ["start_surgery", "take_surgery"])
async def test_who_is_cancelled_before_the_operation_is_theirs_gives_it_back(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    surgery_id = uuid4()
    if service == "take_surgery":
        wire = await operating(serving, grey, surgery_id)
        wire.say(frame("START", 1))
        await wire.end()
    gate = Gate(monkeypatch, service)
    wire = Wire(path="/ws/simulation", query_string=f"token={grey}&surgery={surgery_id}".encode())
    wire.open(websocket_application(serving))
    wire.say(frame("START", 1))
    await gate.reached()
    await cancelled(wire)
    gate.open()
    await serving.recordings.wait_until_all_let_go()
    surgery = await only_surgery()
    assert (surgery.pk, surgery.node) == (surgery_id, "")
    assert surgery.disconnected_at is not None


async def test_a_database_that_is_away_is_1013(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**about: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(surgeries, "start_surgery", fails)
    wire = await operating(serving, grey)
    wire.say(frame("START"))
    code, reason = await wire.ending()
    assert code == 1013
    assert "later" in reason
    await wire.end()


@contextmanager
def away(serving: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the writer find no database meanwhile, and not look for it for long."""

    def fails(chunks: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0)
    monkeypatch.setattr(recorder_module, "AWAY_SECONDS", 0.01)
    with monkeypatch.context() as broken:
        broken.setattr(serving.writer, "_insert", fails)
        yield


async def test_what_was_received_while_the_database_was_away_is_stored_when_it_is_back(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wire = await operating(serving, grey)
    with away(serving, monkeypatch):
        for timestamp in range(1, 69):
            wire.say(frame(timestamp=timestamp))
        assert (await wire.ending())[0] == 1013
        await wire.end()
        assert serving.recordings._last_words
    await serving.recordings.wait_until_all_let_go()
    surgery = await only_surgery()
    assert surgery.node == ""
    assert (await stored(surgery.pk))[1] == list(range(1, 69))
    assert "could not be stored" not in caplog.text


async def test_frames_that_are_lost_are_named_in_the_log(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who takes over finds them missing and can send them; who never comes back can not."""
    surgery_id = uuid4()
    wire = await operating(serving, grey, surgery_id)
    wire.say(frame(timestamp=1))
    await until(lambda: bool(serving.recordings._holders))
    await serving.recordings._holders[surgery_id]._recorder.flush()  # type: ignore[attr-defined]
    with away(serving, monkeypatch):
        for timestamp in range(2, 69):
            wire.say(frame(timestamp=timestamp))
        assert (await wire.ending())[0] == 1013
        await wire.end()
        monkeypatch.setattr(module, "LET_GO_SECONDS", 0)
        later = await operating(serving, grey, surgery_id)
    await serving.recordings.wait_until_all_let_go()
    assert f"surgery {surgery_id}: 67 movements from 1 on could not be stored" in caplog.text
    assert (await stored(surgery_id))[1] == [1]
    await later.end()


# --- Coming back ---------------------------------------------------------------------------


async def test_the_client_may_choose_the_id_and_come_back_to_it(
    serving: Runtime, grey: str
) -> None:
    surgery_id = uuid4()
    wire = await operating(serving, grey, surgery_id)
    wire.say(frame("START", 1))
    await wire.end()
    wire = await operating(serving, grey, surgery_id)
    wire.say(frame("NONE", 2))
    wire.say(frame("FINISH", 3))
    assert await saved(wire) == surgery_id
    assert await stored(surgery_id) == (Surgery.Status.COMPLETED, [1, 2, 3])
    await wire.end()


async def test_a_second_socket_takes_over_with_everything_and_the_first_gets_1008(
    serving: Runtime, grey: str
) -> None:
    surgery_id = uuid4()
    first = await operating(serving, grey, surgery_id)
    first.say(frame("START", 1))
    first.say(frame("NONE", 2))
    await until(lambda: bool(serving.recordings._holders))
    second = await operating(serving, grey, surgery_id)
    code, reason = await first.ending()
    assert code == 1008
    assert "took" in reason
    second.say(frame("FINISH", 3))
    assert await saved(second) == surgery_id
    assert (await stored(surgery_id))[1] == [1, 2, 3]
    for wire in (first, second):
        await wire.end()


async def test_a_claim_that_came_to_nothing_does_not_spoil_the_next_take_over(
    serving: Runtime, grey: str
) -> None:
    """Claims are counted, and some are never taken up: two reconnections at once, say."""
    surgery_id = uuid4()
    wire = await operating(serving, grey, surgery_id)
    wire.say(frame("START", 1))
    await until(lambda: bool(serving.recordings._holders))
    surgeon = await call(User.objects.get)
    await call(
        surgeries.claim_surgery, surgery_id=surgery_id, surgeon_id=surgeon.pk, now=module._now()
    )
    assert (await wire.ending())[0] == 1008
    await wire.end()
    for number in (2, 3):
        last, wire = wire, await operating(serving, grey, surgery_id)
        if number == 3:
            assert (await last.ending())[0] == 1008
            await last.end()
        wire.say(frame("NONE", number))
        await until(lambda: bool(serving.recordings._holders))
        await serving.tail.follow()
    wire.say(frame("FINISH", 4))
    assert await saved(wire) == surgery_id
    assert (await stored(surgery_id))[1] == [1, 2, 3, 4]
    await wire.end()


async def test_another_surgeon_s_operation_is_1008(serving: Runtime, grey: str) -> None:
    wire = await operating(serving, grey, surgery_id := uuid4())
    wire.say(FINISH)
    await saved(wire)
    await wire.end()
    house = await call(account, "dr house", roles.SURGEON)
    wire = await operating(serving, house, surgery_id)
    assert (await wire.ending())[0] == 1008
    await wire.end()


async def test_of_a_completed_operation_only_the_finish_may_be_repeated(
    serving: Runtime, grey: str
) -> None:
    wire = await operating(serving, grey, surgery_id := uuid4())
    wire.say(frame("START", 1))
    wire.say(FINISH)
    await saved(wire)
    await wire.end()
    wire = await operating(serving, grey, surgery_id)
    wire.say(FINISH)
    assert await saved(wire) == surgery_id
    await wire.end()
    wire = await operating(serving, grey, surgery_id)
    wire.say(frame("START", 2))
    assert (await wire.ending())[0] == 1008
    await wire.end()
    assert await completions() == 1
    assert (await stored(surgery_id))[1] == [1, 1710523459999]


@pytest.mark.parametrize("surgery", ["", "5", "not-a-uuid", "550e8400"])
async def test_what_is_no_uuid_is_1003(serving: Runtime, grey: str, surgery: str) -> None:
    wire = await operating(serving, grey, surgery)
    assert (await wire.ending())[0] == 1003
    await wire.end()


# --- The AI --------------------------------------------------------------------------------


async def finished(serving: Runtime, token: str) -> UUID:
    wire = await operating(serving, token)
    wire.say(FINISH)
    surgery_id = await saved(wire)
    await wire.end()
    return surgery_id


async def test_every_ai_hears_of_a_completed_operation_once(
    serving: Runtime, grey: str, analyst: str
) -> None:
    ears = [await listening(serving, analyst) for _ in range(3)]
    surgery_id = await finished(serving, grey)
    for ear in ears:
        assert json.loads(await ear.hear()) == {
            "event": "NEW_SURGERY",
            "surgeryId": str(surgery_id),
        }
    for ear in ears:
        await ear.end()
        assert ear.outbound.empty()


async def test_an_ai_that_was_away_gets_what_is_not_analysed_yet_when_it_comes(
    serving: Runtime, grey: str, analyst: str
) -> None:
    operations = [await finished(serving, grey) for _ in range(3)]
    await call(
        surgeries.record_analysis,
        surgery_id=operations[1],
        score=80.0,
        feedback="Steady.",
        now=module._now(),
    )
    await serving.tail.follow()
    ear = await listening(serving, analyst)
    told = [UUID(json.loads(await ear.hear())["surgeryId"]) for _ in range(2)]
    assert told == [operations[0], operations[2]]
    later = await finished(serving, grey)
    assert json.loads(await ear.hear())["surgeryId"] == str(later)
    await ear.end()
    assert ear.outbound.empty()


async def test_what_an_ai_says_is_ignored(serving: Runtime, grey: str, analyst: str) -> None:
    ear = await listening(serving, analyst)
    ear.say("hello")
    ear.say_bytes(b"\x00")
    surgery_id = await finished(serving, grey)
    assert json.loads(await ear.hear())["surgeryId"] == str(surgery_id)
    await ear.end()
