"""The surgery dialect's order of talk, over sockets in memory and a real database."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from accounts import roles
from accounts.models import User
from devices.models import Surgery
from devices.services import surgeries
from realtime.calls import call
from realtime.dialects.surgery import consumer as module
from realtime.models import JournalEntry
from realtime.routing import websocket_application
from realtime.runtime import Runtime
from realtime.tests.dialects.surgery.talk import (
    FINISH,
    account,
    frame,
    listening,
    only_surgery,
    operating,
    saved,
    stored,
)
from realtime.tests.test_broker import until
from realtime.tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


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
