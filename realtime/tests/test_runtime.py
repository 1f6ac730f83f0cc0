"""One serving process: wired, started once, heard by its sockets, drained, stopped."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from channels.layers import get_channel_layer
from django.conf import settings as configured
from django.db import OperationalError, transaction
from pytest_django import Settings

from accounts import roles
from accounts.models import Role, User
from accounts.tokens import issue_access
from devices.models import Alert, Surgery
from devices.services import surgeries
from devices.services.devices import change_status
from devices.services.telemetry import record_reports
from devices.tests.builders import a_device, a_rule
from devices.tests.reports import a_report
from devices.writer import Writer
from realtime import broker, journal, nodes
from realtime import runtime as module
from realtime.broker import JOURNAL_GROUP
from realtime.calls import call
from realtime.connections import end_connection
from realtime.core.errors import Restarting
from realtime.core.events import RecordingClaimed
from realtime.core.position import Position
from realtime.models import JournalEntry, Lease, Node
from realtime.routing import websocket_application
from realtime.runtime import Runtime
from realtime.tests.doubles import NOW, FakeTransport, member, moved, principal
from realtime.tests.test_broker import IN_MEMORY, until
from realtime.tests.wire import Wire, turns

pytestmark = pytest.mark.django_db(transaction=True)

SOCKETS = 100
needs_redis = pytest.mark.skipif(not configured.REDIS_URL, reason="REDIS_URL is not set")


@pytest.fixture
async def token() -> str:
    user = await call(User.objects.create_user, "olga", role=roles.OPERATOR)
    return await call(issue_access, user)


async def connected(runtime: Runtime, token: str, path: str = "/ws/pubsub") -> Wire:
    wire = Wire(path=path, query_string=f"token={token}".encode())
    await wire.opened(websocket_application(runtime))
    return wire


async def subscribed(runtime: Runtime, token: str, *topics: str) -> Wire:
    """Return a pubsub socket that has been greeted and has its subscriptions."""
    wire = await connected(runtime, token)
    assert json.loads(await wire.hear())["data"]["status"] == "connected"
    wire.say(json.dumps({"type": "Subscribe", "data": {"topics": topics}}))
    assert json.loads(await wire.hear())["data"]["status"] == "subscribed"
    return wire


def start_surgery() -> Surgery:
    surgeon = User.objects.create_user("dr grey", role=roles.SURGEON)
    surgery_id = uuid4()
    surgeries.start_surgery(surgery_id=surgery_id, surgeon_id=surgeon.pk, node="n", now=NOW)
    return Surgery.objects.get(pk=surgery_id)


# --- From a change to a socket -------------------------------------------------------------


def position_of_the_start() -> str:
    """Return the position of the one operation that was begun; who came has one as well."""
    entry = JournalEntry.objects.get(kind="SurgeryStarted")
    return f"{journal.head().epoch}-{entry.position}"


async def test_what_is_committed_in_a_thread_is_heard_by_a_socket(
    serving: Runtime, token: str
) -> None:
    wire = await subscribed(serving, token, "surgeries.*")
    surgery = await call(start_surgery)
    message = json.loads(await wire.hear())
    assert message["type"] == "Broadcast"
    assert message["data"]["topic"] == f"surgeries.{surgery.pk}"
    assert message["data"]["payload"]["event"] == "SURGERY_STARTED"
    assert message["data"]["metadata"]["position"] == await call(position_of_the_start)
    await wire.end()


async def test_what_another_process_committed_is_heard_too(serving: Runtime, token: str) -> None:
    other = Runtime()
    await other.start()
    wires = [await subscribed(each, token, "surgeries.*") for each in (serving, other)]
    await call(start_surgery)
    messages = [await wire.hear() for wire in wires]
    assert messages[0] == messages[1]
    for wire in wires:
        await wire.end()
        assert wire.outbound.empty(), "once each"
    await other.stop()


async def test_a_live_value_is_heard_here_and_in_the_other_processes(
    serving: Runtime, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "BEACON_SECONDS", 0.01)
    other = Runtime()
    await other.start()
    began = other.broker._heard_at
    await until(lambda: other.broker._heard_at > began)
    wires = [await subscribed(each, token, "surgeries.*") for each in (serving, other)]
    serving.publish_live(moved("m"))
    for wire in wires:
        assert json.loads(await wire.hear())["data"]["payload"]["event"] == "SURGERY_MOVED"
        await wire.end()
    await other.stop()


async def test_what_rolls_back_is_heard_by_nobody(serving: Runtime, token: str) -> None:
    wire = await subscribed(serving, token, "surgeries.*")

    def in_vain() -> None:
        with transaction.atomic():
            start_surgery()
            transaction.set_rollback(True)

    await call(in_vain)
    await call(start_surgery)
    message = json.loads(await wire.hear())
    assert message["data"]["metadata"]["position"] == await call(position_of_the_start)
    await wire.end()
    assert wire.outbound.empty()


# --- Readings ------------------------------------------------------------------------------


def listener(runtime: Runtime) -> FakeTransport:
    """Let somebody hear all telemetry; return the transport that it arrives on."""
    someone = member(principal(subscribe=("telemetry.**",)))
    runtime.hub.join(someone)
    runtime.hub.subscribe(someone, "telemetry.*")
    assert isinstance(someone.transport, FakeTransport)
    return someone.transport


async def test_a_reading_from_a_thread_is_heard_by_a_socket(serving: Runtime) -> None:
    heard = listener(serving)
    device = await call(a_device)
    await call(record_reports, [a_report(device, humidity=45.2)], now=NOW)
    await until(lambda: bool(heard.written))
    assert serving.intake.latest.of(device.pk)["humidity"].value == 45.2


async def test_a_reading_is_heard_in_the_other_processes(
    serving: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "BEACON_SECONDS", 0.01)
    device = await call(a_device)
    other = Runtime()
    await other.start()
    began = other.broker._heard_at
    await until(lambda: other.broker._heard_at > began)
    heard = listener(other)
    await serving.intake.know(device.pk)
    await serving.intake.take(a_report(device, humidity=45.2))
    await until(lambda: bool(heard.written))
    assert other.intake.latest.of(device.pk)["humidity"].value == 45.2
    await other.stop()


async def test_what_becomes_of_a_device_is_known_at_once(serving: Runtime) -> None:
    device = await call(a_device)
    await until(lambda: serving.intake.registry.get(device.pk) is not None)
    await call(change_status, device.pk, "maintenance", reason="test", now=NOW)
    await until(lambda: serving.intake.registry.get(device.pk).status == "maintenance")


async def test_a_reading_past_a_threshold_raises_an_alert(serving: Runtime) -> None:
    device = await call(a_device)
    await call(a_rule, device, threshold=30.0)
    await serving.intake.know(device.pk)
    await until(lambda: serving.alarms.is_idle and serving.tail.position == 2)
    for n, value in enumerate((20.0, 35.0)):
        at = datetime.now(UTC) + timedelta(milliseconds=n)
        await serving.intake.take(a_report(device, at=at, temperature=value))
    # The device, the rule, its first sign of life, and the alert.
    await until(lambda: serving.tail.position == 4)
    alert = await call(Alert.objects.get)
    assert (alert.device_id, alert.actual_value) == (device.pk, 35.0)


async def test_signs_of_life_are_kept_before_it_stops(serving: Runtime) -> None:
    device = await call(a_device)
    await serving.intake.know(device.pk)
    serving.intake.alive(device.pk, now=NOW)
    await serving.stop()
    await call(device.refresh_from_db)
    assert device.last_seen == NOW


async def test_a_restored_journal_comes_with_restored_devices(serving: Runtime) -> None:
    device = await call(a_device)
    await until(lambda: serving.intake.registry.get(device.pk) is not None)
    serving.intake.registry.drop(device.pk)
    serving._stand_at("another", 0)
    await until(lambda: serving.intake.registry.get(device.pk) is not None)


# --- Access --------------------------------------------------------------------------------


def change_user(**fields: Any) -> None:
    user = User.objects.get(username="olga")
    for name, value in fields.items():
        setattr(user, name, value)
    user.save()


async def test_a_deactivated_account_loses_its_sockets(serving: Runtime, token: str) -> None:
    wire = await subscribed(serving, token, "surgeries.*")
    await call(change_user, is_active=False)
    assert json.loads(await wire.hear())["data"]["status"] == "revoked"
    assert await wire.ending() == (1008, "invalid token")
    await wire.end()


async def test_who_connects_is_told_to_who_watches_and_shown_to_who_comes_later(
    serving: Runtime, token: str
) -> None:
    watcher = await subscribed(serving, token, "presence.bea")
    bea = await call(User.objects.create_user, "bea", role=roles.MEMBER)
    wire = await connected(serving, await call(issue_access, bea))
    told = json.loads(await watcher.hear())
    assert (told["type"], told["data"]["user_id"], told["data"]["status"]) == (
        "Presence",
        "bea",
        "online",
    )
    late = await subscribed(serving, token, "presence.bea")
    assert json.loads(await late.hear())["data"]["user_id"] == "bea"
    for each in (watcher, wire, late):
        await each.end()


async def test_presence_is_known_after_a_restart(serving: Runtime, token: str) -> None:
    wire = await connected(serving, token)
    await until(lambda: len(serving.oversight.presence.roster) == 1)
    await wire.end()
    await serving.stop()
    # Who was here when it ended may come back.
    again = Runtime()
    await again.start()
    assert len(again.oversight.presence.roster) == 1
    await again.stop()


async def test_a_connection_that_an_operator_ends_is_closed_with_1008(
    serving: Runtime, token: str
) -> None:
    wire = await connected(serving, token)
    welcome = json.loads(await wire.hear())
    await call(end_connection, welcome["data"]["details"]["connection_id"], by="root")
    assert await wire.ending() == (1008, "an operator ended this connection")
    await wire.end()


async def test_a_role_that_may_not_open_the_endpoint_loses_its_sockets(
    serving: Runtime, token: str
) -> None:
    wire = await subscribed(serving, token, "surgeries.*")
    await call(change_user, role_id=roles.DEVICE)
    assert json.loads(await wire.hear())["data"]["code"] == 403
    code, reason = await wire.ending()
    assert code == 1008
    assert roles.DEVICE in reason
    await wire.end()


def narrow_operators() -> None:
    role = Role.objects.get(pk=roles.OPERATOR)
    role.subscribe = ["chat.**"]
    role.save()


async def test_a_narrower_role_is_told_which_subscriptions_ended(
    serving: Runtime, token: str
) -> None:
    wire = await subscribed(serving, token, "surgeries.*", "chat.*")
    await call(narrow_operators)
    details = json.loads(await wire.hear())["data"]["details"]
    assert details["topics"] == ["surgeries.*"]
    assert details["reason"] == "your role changed"
    await call(start_surgery)
    await serving.tail.follow()
    await wire.end()
    assert wire.outbound.empty()


# --- The layer -----------------------------------------------------------------------------


async def test_a_hundred_sockets_open_no_channel_of_the_layer(
    runtime: Runtime, token: str, settings: Settings
) -> None:
    settings.CHANNEL_LAYERS = IN_MEMORY
    await runtime.start()
    layer = get_channel_layer()
    await until(lambda: JOURNAL_GROUP in layer.groups)
    before = {group: len(channels) for group, channels in layer.groups.items()}
    wires = [await subscribed(runtime, token, "surgeries.**") for _ in range(SOCKETS)]
    assert {group: len(channels) for group, channels in layer.groups.items()} == before
    assert set(before.values()) == {1}, "a process joins groups, a socket never does"
    assert len(layer.channels) <= 1
    for wire in wires:
        await wire.end()


@pytest.mark.redis
@needs_redis
async def test_a_hundred_sockets_open_no_channel_of_redis(serving: Runtime, token: str) -> None:
    layer = get_channel_layer()
    await until(lambda: len(layer.groups) == 1 + len(broker.LIVE_ROOTS))
    before = len(layer._shards[0]._subscribed_to)
    wires = [await subscribed(serving, token, "surgeries.**") for _ in range(SOCKETS)]
    assert len(layer.channels) == 1
    assert len(layer._shards[0]._subscribed_to) == before == 1 + len(layer.groups)
    for wire in wires:
        await wire.end()


# --- Starting ------------------------------------------------------------------------------


async def test_it_starts_once_however_many_ask(runtime: Runtime) -> None:
    await asyncio.gather(*(runtime.start() for _ in range(10)))
    assert runtime.is_started
    assert await call(Node.objects.count) == 1
    tasks = len(runtime._tasks)
    await runtime.start()
    assert len(runtime._tasks) == tasks


async def test_it_waits_for_a_database_that_is_away(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "DATABASE_RETRY_SECONDS", 0)
    problems = [OperationalError("connection refused")] * 3
    head = journal.head

    def head_when_back() -> Position:
        if problems:
            raise problems.pop()
        return head()

    monkeypatch.setattr(journal, "head", head_when_back)
    await runtime.start()
    assert runtime.is_started
    assert caplog.text.count("waiting for the database") == 3


async def test_it_stands_where_the_journal_ends(runtime: Runtime) -> None:
    await call(start_surgery)
    await runtime.start()
    head = await call(journal.head)
    assert (runtime.hub.epoch, runtime.hub.position) == (head.epoch, head.n) == (head.epoch, 1)


async def test_it_can_be_started_again_after_it_was_stopped(serving: Runtime, token: str) -> None:
    await serving.stop()
    assert not serving.is_started
    assert await call(Node.objects.count) == 0
    await serving.start()
    wire = await subscribed(serving, token, "surgeries.*")
    await call(start_surgery)
    assert "SURGERY_STARTED" in await wire.hear()
    await wire.end()


# --- Draining and stopping -----------------------------------------------------------------


async def test_a_drain_lets_everyone_go_with_1012_and_nobody_in(
    serving: Runtime, token: str
) -> None:
    wires = [await connected(serving, token) for _ in range(5)]
    for wire in wires:
        await wire.hear()
    drain = asyncio.ensure_future(serving.drain())
    for wire in wires:
        code, reason = await wire.ending()
        assert code == 1012
        assert "restarts" in reason
        wire.leave()
    await drain
    late = Wire(query_string=f"token={token}".encode())
    late.open(websocket_application(serving))
    assert (await late.next())["type"] == "websocket.close"
    assert not serving.hub.members
    assert not serving._tasks
    assert await call(Node.objects.count) == 0


async def test_a_drain_does_not_wait_for_ever(
    serving: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0)
    one = member()
    serving.hub.join(one)
    await serving.drain()
    assert isinstance(one.transport.ending, Restarting)  # type: ignore[attr-defined]
    assert not serving.is_started


async def test_a_drain_waits_for_those_that_are_letting_go(serving: Runtime) -> None:
    order: list[str] = []
    stored = asyncio.Event()

    async def last_words() -> None:
        await stored.wait()
        order.append("let go")

    serving.writer.stop = lambda: order.append("writer stopped")  # type: ignore[method-assign]
    serving.recordings.see_off(last_words())
    drain = asyncio.ensure_future(serving.drain())
    await turns()
    stored.set()
    await drain
    assert order == ["let go", "writer stopped"]
    Writer.stop(serving.writer)


async def test_draining_what_never_started_does_nothing() -> None:
    runtime = Runtime()
    await runtime.drain()
    assert not runtime.is_draining


async def test_what_still_waits_for_the_database_is_drained_and_never_starts(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def head() -> Position:
        looks.append(len(looks))
        raise OperationalError("connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(module, "DATABASE_RETRY_SECONDS", 0)
        broken.setattr(journal, "head", head)
        starting = asyncio.ensure_future(runtime.start())
        await until(lambda: len(looks) >= 2)
        await runtime.drain()
    await asyncio.gather(starting, return_exceptions=True)
    assert not runtime.is_started
    assert not runtime._tasks


async def test_a_database_that_is_away_does_not_keep_it_from_stopping(
    serving: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(node_id: str) -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(nodes, "bury", fails)
        await serving.stop()
    assert not serving.is_started


# --- Chores --------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [OperationalError("locked"), LookupError("a fault")])
async def test_a_chore_that_failed_is_repeated(
    runtime: Runtime, problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    runs = []

    async def chore() -> None:
        runs.append(len(runs))
        raise problem

    task = runtime.spawn(runtime._every(0, chore))
    await until(lambda: len(runs) >= 3)
    task.cancel()
    assert "chore" in caplog.text


async def test_work_that_must_never_end_starts_again_after_a_fault(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RESTART_WORK_SECONDS", 0)
    runs = []

    async def work() -> None:
        runs.append(len(runs))
        raise LookupError("a fault")

    task = runtime.spawn(runtime._keep(work))
    await until(lambda: len(runs) >= 3)
    task.cancel()
    assert "starts again" in caplog.text


async def test_background_work_that_fails_is_logged(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        raise LookupError("a fault of ours")

    await asyncio.gather(runtime.spawn(fails()), return_exceptions=True)
    await asyncio.sleep(0)
    assert "a fault of ours" in caplog.text
    assert not runtime._tasks


async def test_only_the_holder_of_the_lease_sweeps(
    serving: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps = []
    monkeypatch.setattr(surgeries, "interrupt_lost_surgeries", lambda **about: sweeps.append(about))
    await serving._sweep()
    await call(module._sweep, "another process")
    assert [about["living_nodes"] for about in sweeps] == [{serving.node_id}]
    lease = await call(Lease.objects.get)
    assert lease.node_id == serving.node_id


async def test_a_heartbeat_says_what_is_served(serving: Runtime) -> None:
    serving.hub.join(member(endpoint="ai"))
    await serving._beat()
    node = await call(Node.objects.get)
    assert (node.id, node.connections) == (serving.node_id, {"ai": 1})
    serving.hub.leave(next(iter(serving.hub)))


async def test_a_peer_that_stalls_is_closed_by_the_look_out(
    serving: Runtime, settings: Settings
) -> None:
    settings.STALLED_SECONDS = 0
    one = member()
    one.transport.is_blocked = True  # type: ignore[misc]
    serving.hub.join(one)
    await serving._look_after()
    await serving._look_after()
    assert one.transport.closed[0] == 1013  # type: ignore[attr-defined]
    serving.hub.leave(one)


# --- Control events ------------------------------------------------------------------------


async def test_a_claimed_recording_is_given_up_by_whoever_holds_an_older_one(
    runtime: Runtime,
) -> None:
    given_up = []

    class Holder:
        recording_number = 3

        def give_way(self) -> None:
            given_up.append(self.recording_number)

    surgery_id = uuid4()
    runtime.recordings.hold(surgery_id, Holder())  # type: ignore[arg-type]
    for recording in (2, 3, 4):
        event = RecordingClaimed(id="c", at=NOW, surgery_id=surgery_id, recording=recording)
        runtime._deliver(event, recording)
    assert given_up == [3]
    assert runtime.hub.position == 4
