"""Leaving: what was sent is stored and the operation let go, however slow the database is."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError

from devices import writer as writer_module
from devices.models import Surgery
from devices.services import surgeries
from realtime import calls
from realtime.dialects.surgery import consumer as module
from realtime.dialects.surgery import recorder as recorder_module
from realtime.dialects.surgery.recorder import FRAMES_PER_CHUNK
from realtime.routing import websocket_application
from realtime.runtime import Runtime
from realtime.tests.dialects.surgery.talk import frame, only_surgery, operating, saved, stored
from realtime.tests.test_broker import until
from realtime.tests.wire import Wire, turns

pytestmark = pytest.mark.django_db(transaction=True)


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


async def test_whoever_was_let_in_during_a_drain_is_let_go_with_1012(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = await operating(serving, grey, surgery_id := uuid4())
    wire.say(frame("START", 1))
    await wire.end()
    gate = Gate(monkeypatch, "take_surgery")
    late = Wire(path="/ws/simulation", query_string=f"token={grey}&surgery={surgery_id}".encode())
    late.open(websocket_application(serving))
    await gate.reached()
    drain = asyncio.ensure_future(serving.drain())
    await turns()
    gate.open()
    assert (await late.next())["type"] == "websocket.accept"
    assert (await late.ending())[0] == 1012
    late.leave()
    await drain
    assert (await only_surgery()).node == ""


class Gate:
    """Keeps a service from beginning until it is opened; it runs in another thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._service = getattr(surgeries, name)
        self._entered, self._opened = threading.Event(), threading.Event()
        self.is_passed = False
        monkeypatch.setattr(surgeries, name, self._pass)

    def _pass(self, **about: Any) -> Any:
        self._entered.set()
        assert self._opened.wait(10)
        try:
            return self._service(**about)
        finally:
            self.is_passed = True

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


async def test_a_claim_that_nobody_waits_for_any_more_shuts_nobody_out(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = await operating(serving, grey, surgery_id := uuid4())
    wire.say(frame("START", 1))
    await wire.end()
    with monkeypatch.context() as slow:
        gate = Gate(slow, "claim_surgery")
        given_up = Wire(
            path="/ws/simulation", query_string=f"token={grey}&surgery={surgery_id}".encode()
        )
        given_up.open(websocket_application(serving))
        await gate.reached()
        await cancelled(given_up)
    wire = await operating(serving, grey, surgery_id)
    gate.open()
    await until(lambda: gate.is_passed)
    assert (await only_surgery()).claimed == 2
    wire.say(frame("FINISH", 2))
    assert await saved(wire) == surgery_id
    await wire.end()


@contextmanager
def away(serving: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the writer find no database meanwhile, and not look for it for long."""

    def fails(chunks: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0)
    monkeypatch.setattr(recorder_module, "AWAY_SECONDS", 0.01)
    with monkeypatch.context() as broken:
        broken.setattr(serving.writer._chunks, "insert", fails)
        yield


async def test_what_was_received_while_the_database_was_away_is_stored_when_it_is_back(
    serving: Runtime, grey: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wire = await operating(serving, grey)
    with away(serving, monkeypatch):
        for timestamp in range(1, FRAMES_PER_CHUNK + 1):
            wire.say(frame(timestamp=timestamp))
        assert (await wire.ending())[0] == 1013
        await wire.end()
        assert serving.recordings._last_words
    await serving.recordings.wait_until_all_let_go()
    surgery = await only_surgery()
    assert surgery.node == ""
    assert (await stored(surgery.pk))[1] == list(range(1, FRAMES_PER_CHUNK + 1))
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
        for timestamp in range(2, FRAMES_PER_CHUNK + 2):
            wire.say(frame(timestamp=timestamp))
        assert (await wire.ending())[0] == 1013
        await wire.end()
        monkeypatch.setattr(module, "LET_GO_SECONDS", 0)
        later = await operating(serving, grey, surgery_id)
    await serving.recordings.wait_until_all_let_go()
    assert f"surgery {surgery_id}: 64 movements from 1 on could not be stored" in caplog.text
    assert (await stored(surgery_id))[1] == [1]
    await later.end()
