"""A process that only seemed dead: what others took from it meanwhile is its own again."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from devices.models import Surgery
from devices.services import surgeries
from realtime import nodes
from realtime import runtime as runtime_module
from realtime.calls import call
from realtime.dialects.surgery import recordings as recordings_module
from realtime.models import Node
from realtime.runtime import Runtime
from realtime.tests.dialects.surgery.talk import frame, only_surgery, operating, saved, stored
from realtime.tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


async def recording(serving: Runtime, token: str, surgery_id: UUID) -> Wire:
    """Return a socket whose first frame is stored."""
    wire = await operating(serving, token, surgery_id)
    wire.say(frame("START", 1))
    while not await call(Surgery.objects.filter(chunks__seq=0).count):
        pass
    return wire


def sweep_as_another(*, times: int) -> None:
    """Sweep as a process that holds ours for dead: the first lets go, the second interrupts."""
    for number in range(1, times + 1):
        surgeries.interrupt_lost_surgeries(
            living_nodes={"another"}, grace=timedelta(0), now=datetime.now(UTC) + number * HOUR
        )


async def test_what_another_process_let_go_is_ours_again_with_the_next_heartbeat(
    serving: Runtime, grey: str
) -> None:
    wire = await recording(serving, grey, surgery_id := uuid4())
    await call(sweep_as_another, times=1)
    assert (await only_surgery()).node == ""
    await serving._beat()
    surgery = await only_surgery()
    assert (surgery.node, surgery.disconnected_at) == (serving.node_id, None)
    wire.say(frame("FINISH", 2))
    assert await saved(wire) == surgery_id
    await wire.end()


async def test_what_another_process_interrupted_goes_on_with_the_next_heartbeat(
    serving: Runtime, grey: str
) -> None:
    wire = await recording(serving, grey, surgery_id := uuid4())
    await call(sweep_as_another, times=2)
    assert (await only_surgery()).status == Surgery.Status.INTERRUPTED
    await serving._beat()
    wire.say(frame("FINISH", 2))
    assert await saved(wire) == surgery_id
    assert await stored(surgery_id) == (Surgery.Status.COMPLETED, [1, 2])
    await wire.end()


@pytest.mark.parametrize("event", ["NONE", "FINISH"])
async def test_a_frame_that_comes_before_the_heartbeat_is_told_to_resume_and_stored(
    serving: Runtime, grey: str, event: str
) -> None:
    wire = await recording(serving, grey, surgery_id := uuid4())
    await call(sweep_as_another, times=2)
    wire.say(frame(event, 2))
    code, reason = await wire.ending()
    assert code == 1013
    assert "resume" in reason
    await wire.end()
    await serving.recordings.wait_until_all_let_go()
    assert await stored(surgery_id) == (Surgery.Status.IN_PROGRESS, [1, 2])
    assert (await only_surgery()).node == ""
    again = await operating(serving, grey, surgery_id)
    again.say(frame("FINISH", 2 if event == "FINISH" else 3))
    assert await saved(again) == surgery_id
    await again.end()


async def test_what_was_taken_over_stays_with_whoever_took_it(serving: Runtime, grey: str) -> None:
    wire = await recording(serving, grey, surgery_id := uuid4())
    surgery = await only_surgery()
    about = {"surgery_id": surgery_id, "now": datetime.now(UTC)}
    await call(sweep_as_another, times=1)
    claim = await call(surgeries.claim_surgery, surgeon_id=surgery.surgeon_id, **about)
    await call(surgeries.take_surgery, claim=claim.claim, node="another", force=True, **about)
    await serving._beat()
    assert (await only_surgery()).node == "another"
    wire.say(frame("NONE", 2))
    code, reason = await wire.ending()
    assert (code, "took" in reason) == (1008, True)
    await wire.end()


async def test_what_was_let_go_while_the_heartbeat_asked_is_let_go_again(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the row would name this process though nobody records."""
    wire = await recording(serving, grey, uuid4())
    asked = recordings_module.call

    async def ask_late(*args: Any, **about: Any) -> Any:
        await wire.end()
        assert (await only_surgery()).node == ""
        return await asked(*args, **about)

    monkeypatch.setattr(recordings_module, "call", ask_late)
    await serving.recordings.keep(serving.node_id)
    await serving.recordings.wait_until_all_let_go()
    assert (await only_surgery()).node == ""


async def test_whoever_sweeps_counts_itself_among_the_living(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = await recording(serving, grey, uuid4())
    # A heartbeat that the database kept waiting: long ago when it is written.
    long_ago = datetime.now(UTC) - 2 * nodes.DEAD_AFTER
    await call(Node.objects.update, heartbeat_at=long_ago)
    monkeypatch.setattr(nodes, "beat", lambda *args, **about: None)
    await serving._sweep()
    assert (await only_surgery()).node == serving.node_id
    await wire.end()


async def test_a_heartbeat_that_waited_for_the_database_is_repeated(
    serving: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_module, "BEAT_AGAIN_SECONDS", 0.05)
    beat, written = nodes.beat, []

    def slow_at_first(*args: Any, now: datetime, **options: Any) -> bool:
        if not written:
            time.sleep(0.06)
        written.append(now)
        return beat(*args, now=now, **options)

    monkeypatch.setattr(nodes, "beat", slow_at_first)
    await serving._beat()
    assert len(written) >= 2
    assert (await call(Node.objects.get)).heartbeat_at == written[-1]
