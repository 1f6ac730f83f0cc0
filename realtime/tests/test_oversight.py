"""What watches over the conversations, in a serving process."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import roles
from accounts.models import User
from accounts.tokens import issue_access
from devices.models import Alert
from realtime import messagelog, nodes, oversight
from realtime.calls import call
from realtime.models import MessageWatch, Node, RefusedAttempt
from realtime.routing import websocket_application
from realtime.runtime import Runtime
from realtime.tests.doubles import NOW, member
from realtime.tests.test_broker import until
from realtime.tests.test_negotiation import is_let_in
from realtime.tests.test_runtime import connected, subscribed
from realtime.tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def user() -> User:
    return await call(User.objects.create_user, "olga", role=roles.OPERATOR)


@pytest.fixture
async def token(user: User) -> str:
    return await call(issue_access, user)


async def attempts_of(runtime: Runtime) -> list[tuple[str, str, str]]:
    await runtime.oversight.attempts.write()
    rows = RefusedAttempt.objects.order_by("id").values_list("reason", "endpoint", "username")
    return await call(lambda: list(rows))


# --- Refused and cut -----------------------------------------------------------------------


async def test_whoever_is_refused_becomes_a_row(serving: Runtime, token: str) -> None:
    application = websocket_application(serving)
    wire = Wire(query_string=b"token=nonsense")
    await wire.opened(application)
    assert json.loads(await wire.hear())["data"]["code"] == 401
    await wire.ending()
    await wire.end()
    wire = Wire(path="/ws/ai", query_string=f"token={token}".encode())
    await wire.opened(application)
    assert (await wire.ending())[0] == 1008
    await wire.end()
    assert not await is_let_in(Wire(path="/ws/nowhere"), application)
    assert await attempts_of(serving) == [
        ("invalid_token", "pubsub", ""),
        ("forbidden", "ai", "olga"),
        ("unknown_path", "unknown", ""),
    ]


async def test_a_peer_that_stopped_reading_becomes_a_row(serving: Runtime) -> None:
    one = member()
    one.transport.is_blocked = True  # type: ignore[misc]
    serving.hub.join(one)
    serving.hub.look_after(now=0.0, stalled_after=1)
    serving.hub.look_after(now=1.0, stalled_after=1)
    assert await attempts_of(serving) == [("stalled", "pubsub", "olga")]
    serving.hub.leave(one)


async def test_what_was_noted_last_is_kept_when_the_process_ends(serving: Runtime) -> None:
    serving.oversight.attempts.note("forbidden", username="", address="", endpoint="ai")
    await serving.stop()
    assert await call(RefusedAttempt.objects.count) == 1


async def test_many_from_one_address_raise_one_alert(serving: Runtime) -> None:
    for _ in range(2):
        serving.oversight._tell_of_many("192.0.2.1", 100)
        await until(lambda: not any("call_patiently" in repr(t) for t in serving._tasks))
    alert = await call(Alert.objects.get)
    assert (alert.device_id, alert.alert_type, alert.severity) == (None, "system", "warning")
    assert "192.0.2.1" in alert.title
    later = datetime.now(UTC) + timedelta(seconds=oversight.QUIET_SECONDS + 1)
    await call(oversight._raise_alert_about, "192.0.2.1", 100, later)
    await call(oversight._raise_alert_about, "192.0.2.2", 100, later)
    assert await call(Alert.objects.count) == 3


# --- Budgets -------------------------------------------------------------------------------


async def test_two_processes_count_together(serving: Runtime, token: str, user: User) -> None:
    other = Runtime()
    await other.start()
    wire = await connected(serving, token)
    budget = other.oversight.budgets["pubsub"]
    await until(lambda: budget.total == 1)
    assert budget.peers[serving.node_id].open == {str(user.pk): 1}
    late = Runtime()
    await late.start()
    await until(lambda: late.oversight.budgets["pubsub"].total == 1)
    await wire.hear()
    await wire.end()
    await until(lambda: budget.total == 0)
    await late.stop()
    await other.oversight.beat(datetime.now(UTC))
    assert late.node_id not in budget.peers
    await other.stop()


# --- The message log -----------------------------------------------------------------------


async def test_a_watch_is_heard_of_by_every_process(
    serving: Runtime, token: str, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    wire = await subscribed(serving, token, "chat.*")
    ends = datetime.now(UTC) + timedelta(minutes=1)
    watch = MessageWatch(user=user, until=ends)
    await call(messagelog.save_watch, watch)
    (one,) = serving.hub
    await until(lambda: one.session.tap is not None)
    wire.say('{"type":"Ping","data":{}}')
    await wire.hear()
    newcomer = await connected(serving, token)
    await newcomer.hear()
    logged = [json.loads(r.message) for r in caplog.records if r.name == "vitalwire.messages"]
    assert [(line["direction"], line["type"]) for line in logged] == [
        ("received", "Ping"),
        ("sent", "Pong"),
        ("sent", "Status"),
    ]
    await call(lambda: messagelog.end_watches(MessageWatch.objects.all()))
    await until(lambda: one.session.tap is None)
    for each in (wire, newcomer):
        await each.end()


# --- Statistics ----------------------------------------------------------------------------


def kept_figures() -> dict[str, Any]:
    return nodes.statistics_of_all()


async def test_a_process_leaves_its_figures_behind(serving: Runtime, token: str) -> None:
    wire = await subscribed(serving, token, "chat.*")
    await wire.end()
    await serving.oversight.beat(datetime.now(UTC))
    before = await call(kept_figures)
    assert (before["opened"], before["closed"]) == (1, 1)
    assert (before["messages_in"], before["messages_out"]) == (1, 2)
    await serving.stop()
    assert await call(Node.objects.count) == 0
    assert await call(kept_figures) == before


async def test_a_process_that_was_taken_for_dead_is_not_counted_twice(
    serving: Runtime, token: str
) -> None:
    wire = await subscribed(serving, token, "chat.*")
    await serving.oversight.beat(datetime.now(UTC))
    await call(nodes.bury_dead, now=datetime.now(UTC) + timedelta(hours=1))
    await serving.oversight.beat(datetime.now(UTC))
    assert (await call(kept_figures))["opened"] == 1
    await wire.end()
    await serving.stop()
    figures = await call(kept_figures)
    assert (figures["opened"], figures["closed"], figures["messages_in"]) == (1, 1, 1)


async def test_a_serving_process_samples(serving: Runtime) -> None:
    await serving.oversight._sample()
    sample = serving.oversight.sampler.latest
    assert sample is not None
    assert sample.node == serving.node_id
    assert sample.metrics["queue_depth_writer"] == 0
    assert sample.at > NOW
