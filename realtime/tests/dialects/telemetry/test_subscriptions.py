"""What is heard: channels, filters, frequencies, what was missed, and what is confirmed."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from realtime.core.events import Measured
from realtime.core.filters import Filter
from realtime.hub import Hub
from realtime.tests.device_events import (
    alert_raised,
    alert_updated,
    sampled,
    status_changed,
    telemetry,
)
from realtime.tests.dialects.telemetry import examples
from realtime.tests.dialects.telemetry.rooms import Client, Server, known
from realtime.tests.hubs import FakeClock, History
from realtime.tests.wire import turns

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def cohorts_of(hub: Hub) -> dict[str, Filter]:
    (member,) = hub
    return {pattern: cohort.filter for pattern, cohort in member.cohorts.items()}


async def say(client: Client, text: str) -> Any:
    client.say(text)
    return await client.hear()


# --- Confirmations -------------------------------------------------------------------------

SUBSCRIBED = [
    (
        examples.SUBSCRIBE_TELEMETRY,
        {
            "channel": "telemetry",
            "device_id": 1,
            "filters": {"metrics": ["temperature", "humidity"], "frequency": "real-time"},
        },
    ),
    (
        examples.SUBSCRIBE_ALERTS,
        {
            "channel": "alerts",
            "device_id": 1,
            "filters": {"severity": ["critical", "warning"]},
        },
    ),
    (
        examples.SUBSCRIBE_DEVICES,
        {
            "channel": "devices",
            "device_id": [1, 2, 3],
            "filters": {"status_types": ["online", "offline", "warning"]},
        },
    ),
    (
        examples.SUBSCRIBE_SYSTEM,
        {
            "channel": "system",
            "device_id": None,
            "filters": {
                "metrics": ["cpu_usage", "memory_usage", "active_connections"],
                "frequency": "30s",
            },
        },
    ),
    (
        '{"type":"subscribe","channel":"alerts","severity":"critical","alert_type":["anomaly"]}',
        {
            "channel": "alerts",
            "device_id": None,
            "filters": {"severity": ["critical"], "alert_type": ["anomaly"]},
        },
    ),
    (
        '{"type":"subscribe","channel":"devices"}',
        {"channel": "devices", "device_id": None, "filters": {}},
    ),
]


@pytest.mark.parametrize(("text", "confirmed"), SUBSCRIBED, ids=[t[:50] for t, _ in SUBSCRIBED])
async def test_what_is_in_force_is_confirmed(
    server: Server, text: str, confirmed: dict[str, Any]
) -> None:
    client = await server.client()
    answer = await say(client, text)
    assert answer == {"type": "subscribed", **confirmed, "position": "e-0"}


async def test_filters_that_the_channel_does_not_know_are_not_in_force(server: Server) -> None:
    client = await server.client()
    answer = await client.ask(type="subscribe", channel="alerts", metrics=["x"], frequency="1s")
    assert answer["filters"] == {}


@pytest.mark.parametrize(
    ("channel", "asked", "every_ms", "said"),
    [
        ("telemetry", None, 0, "real-time"),
        ("telemetry", "real-time", 0, "real-time"),
        ("telemetry", "500ms", 500, "500ms"),
        ("telemetry", "30s", 30_000, "30s"),
        ("telemetry", "5m", 300_000, "5m"),
        ("telemetry", "24h", 86_400_000, "24h"),
        ("telemetry", "1ms", 100, "100ms"),
        ("system", None, 30_000, "30s"),
        ("system", "real-time", 1_000, "1s"),
        ("system", "10ms", 1_000, "1s"),
        ("system", "2s", 2_000, "2s"),
    ],
)
async def test_a_frequency_is_in_force_within_bounds(
    server: Server, hub: Hub, channel: str, asked: str | None, every_ms: int, said: str
) -> None:
    client = await server.client()
    answer = await client.ask(type="subscribe", channel=channel, frequency=asked)
    assert answer["filters"]["frequency"] == said
    assert [each.every_ms for each in cohorts_of(hub).values()] == [every_ms]


@pytest.mark.parametrize(
    "asked", ["", "fast", "0s", "-1s", "5", "1.5s", "25h", "9" * 9 + "s", "٣s"]
)
async def test_a_frequency_that_is_none_is_refused(server: Server, asked: str) -> None:
    client = await server.client()
    refusal = await client.refusal(type="subscribe", channel="telemetry", frequency=asked)
    assert (refusal["code"], refusal["field"]) == ("invalid_field", "frequency")


async def test_subscribing_again_replaces_what_is_heard_of_the_same_device(
    server: Server, hub: Hub
) -> None:
    client = await server.client()
    await client.ask(type="subscribe", channel="alerts", device_id=1, severity="info")
    await client.ask(type="subscribe", channel="alerts", device_id=2)
    await client.ask(type="subscribe", channel="alerts", device_id=1)
    assert cohorts_of(hub) == {"alerts.1": Filter(), "alerts.2": Filter()}


async def test_unsubscribing_is_confirmed(server: Server, hub: Hub) -> None:
    client = await server.client()
    await client.ask(type="subscribe", channel="alerts", device_id=[1, 2])
    assert await client.ask(type="unsubscribe", channel="alerts", device_id=1) == {
        "type": "unsubscribed",
        "channel": "alerts",
        "device_id": 1,
        "filters": {},
        "position": "e-0",
    }
    assert list(cohorts_of(hub)) == ["alerts.2"]


async def test_unsubscribing_without_a_device_ends_all_of_the_channel(
    server: Server, hub: Hub
) -> None:
    client = await server.client()
    for channel, device_id in (("alerts", [1, 2]), ("alerts", None), ("devices", 1)):
        await client.ask(type="subscribe", channel=channel, device_id=device_id)
    answer = await client.ask(type="unsubscribe", channel="alerts")
    assert (answer["channel"], answer["device_id"]) == ("alerts", None)
    assert list(cohorts_of(hub)) == ["devices.1"]


@pytest.mark.parametrize("device_id", [None, 1, [1, 2]])
async def test_unsubscribing_of_nothing_is_refused(server: Server, device_id: Any) -> None:
    client = await server.client()
    refusal = await client.refusal(type="unsubscribe", channel="alerts", device_id=device_id)
    assert refusal["code"] == "not_subscribed"
    assert (await client.ask(type="ping"))["type"] == "pong"


async def test_unsubscribing_reads_the_device_under_filters_too(server: Server, hub: Hub) -> None:
    client = await server.client()
    await client.ask(type="subscribe", channel="alerts", device_id=[1, 2])
    await client.ask(type="unsubscribe", channel="alerts", filters={"device_id": 2})
    assert list(cohorts_of(hub)) == ["alerts.1"]


# --- Refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize("device_id", [99, 4, [1, 99]])
async def test_a_device_that_is_not_in_service_is_unknown(
    server: Server, hub: Hub, device_id: Any
) -> None:
    client = await server.client()
    refusal = await client.refusal(type="subscribe", channel="telemetry", device_id=device_id)
    assert (refusal["code"], refusal["field"]) == ("unknown_device", "device_id")
    assert cohorts_of(hub) == {}


async def test_a_device_that_was_just_added_is_found(server: Server) -> None:
    server.intake.unread[5] = known(5)
    client = await server.client()
    answer = await client.ask(type="subscribe", channel="telemetry", device_id=5)
    assert answer["type"] == "subscribed"


async def test_a_device_hears_its_own_status_and_nothing_else(server: Server, hub: Hub) -> None:
    client = await server.client("device")
    assert (await client.ask(type="subscribe", channel="devices"))["type"] == "subscribed"
    assert (await client.ask(type="subscribe", channel="devices", device_id=1))["type"] == (
        "subscribed"
    )
    for channel, device_id in (("devices", 2), ("telemetry", 1), ("alerts", None)):
        refusal = await client.refusal(type="subscribe", channel=channel, device_id=device_id)
        assert refusal["code"] == "forbidden"
    hub.deliver(status_changed(device=2, account="other"), 1)
    hub.deliver(status_changed(device=1, account="probe"), 2)
    assert (await client.hear())["device_id"] == 1


async def test_subscriptions_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.dialects.telemetry.subscriptions.SUBSCRIPTIONS_MAX", 2)
    client = await server.client()
    refusal = await client.refusal(type="subscribe", channel="alerts", device_id=[1, 2, 3])
    assert (refusal["code"], refusal["limit"]) == ("too_many_subscriptions", 2)
    await client.ask(type="subscribe", channel="alerts", device_id=[1, 2])
    assert (await client.ask(type="subscribe", channel="alerts", device_id=1))["type"] == (
        "subscribed"
    )


# --- What is heard -------------------------------------------------------------------------


async def test_events_are_heard_as_filtered(server: Server, hub: Hub) -> None:
    client = await server.client()
    await client.ask(type="subscribe", channel="telemetry", device_id=1, metrics=["temperature"])
    await client.ask(type="subscribe", channel="alerts", severity="critical")
    await client.ask(type="subscribe", channel="devices", status_types=["offline"])
    hub.deliver(telemetry(device=2))
    hub.deliver(telemetry(device=1))
    hub.deliver(alert_raised(severity="info"), 1)
    hub.deliver(alert_updated(), 2)
    hub.deliver(status_changed(new_status="online"), 3)
    hub.deliver(status_changed(new_status="offline"), 4)
    update, alert, status = [await client.hear() for _ in range(3)]
    assert list(update["telemetry"]) == ["temperature"]
    assert (alert["type"], alert["position"]) == ("alert_update", "e-2")
    assert (status["new_status"], status["position"]) == ("offline", "e-4")
    await turns()
    assert client.has_heard_all


async def test_under_a_frequency_the_beat_tells_the_latest_with_its_window(
    server: Server, hub: Hub, clock: FakeClock
) -> None:
    client = await server.client()
    await client.ask(type="subscribe", channel="telemetry", frequency="30s")
    for value in (20.0, 26.0, 23.0):
        hub.deliver(telemetry(temperature=value))
    await turns()
    assert client.has_heard_all
    clock.advance(30)
    (temperature,) = (await client.hear())["telemetry"].values()
    assert (temperature["min"], temperature["max"], temperature["count"]) == (20.0, 26.0, 3)
    assert temperature["value"] == 23.0


async def test_the_last_known_values_come_first(server: Server, hub: Hub) -> None:
    for device_id in (1, 2):
        values = {"temperature": Measured(20.0 + device_id, "°C", NOON)}
        server.intake.latest.fill({device_id: {**values, "humidity": Measured(50.0, "%", NOON)}})
    client = await server.client()
    answer = await client.ask(type="subscribe", channel="telemetry", metrics=["temperature"])
    assert answer["type"] == "subscribed"
    assert [await client.hear() for _ in range(2)] == [
        {
            "type": "telemetry_update",
            "channel": "telemetry",
            "device_id": device_id,
            "telemetry": {
                "temperature": {
                    "value": 20.0 + device_id,
                    "unit": "°C",
                    "timestamp": "2024-01-01T12:00:00Z",
                }
            },
        }
        for device_id in (1, 2)
    ]
    await client.ask(type="subscribe", channel="telemetry", device_id=2, frequency="30s")
    assert (await client.hear())["device_id"] == 2
    await turns()
    assert client.has_heard_all


async def test_the_last_sample_of_the_system_comes_first(server: Server) -> None:
    server.sample = sampled(cpu_usage=45.2, memory_usage=67.8)
    client = await server.client()
    await client.ask(type="subscribe", channel="system", metrics=["cpu_usage"])
    assert (await client.hear())["metrics"] == {"cpu_usage": 45.2}


# --- Since ---------------------------------------------------------------------------------


async def test_what_was_missed_is_told_after_the_confirmation_and_before_the_present(
    server: Server, history: History
) -> None:
    for number in range(1, 5):
        history.happen(alert_raised(f"a{number}", alert_id=number))
    history.happen(status_changed())
    client = await server.client()
    answer = await client.ask(type="subscribe", channel="alerts", since="e-2")
    assert (answer["complete"], answer["position"]) == (True, "e-5")
    history.happen(alert_raised("a5", alert_id=5))
    heard = [await client.hear() for _ in range(3)]
    assert [each["alert_id"] for each in heard] == [3, 4, 5]
    assert [each["position"] for each in heard] == ["e-3", "e-4", "e-6"]


async def test_of_several_devices_what_was_missed_comes_in_order(
    server: Server, history: History
) -> None:
    for number, device in enumerate([1, 2, 1, 3, 2], start=1):
        history.happen(alert_raised(device=device, alert_id=number))
    client = await server.client()
    await client.ask(type="subscribe", channel="alerts", device_id=[2, 1], since="e-1")
    assert [(await client.hear())["alert_id"] for _ in range(3)] == [2, 3, 5]
    await turns()
    assert client.has_heard_all


@pytest.mark.parametrize("since", ["e-1", "other-3"])
async def test_what_the_journal_does_not_reach_back_to_is_not_complete(
    server: Server, history: History, since: str
) -> None:
    for number in range(1, 6):
        history.happen(alert_raised(alert_id=number))
    del history.entries[:3]
    client = await server.client()
    answer = await client.ask(type="subscribe", channel="alerts", since=since)
    assert answer["complete"] is False


async def test_nothing_missed_is_complete(server: Server, history: History) -> None:
    history.happen(alert_raised())
    client = await server.client()
    answer = await client.ask(type="subscribe", channel="alerts", since="e-1")
    assert answer["complete"] is True
    history.happen(alert_raised(alert_id=2))
    assert (await client.hear())["alert_id"] == 2


@pytest.mark.parametrize("since", ["", "5", "e-", "e-x", "-5"])
async def test_a_position_that_is_none_is_refused(server: Server, since: str) -> None:
    client = await server.client()
    refusal = await client.refusal(type="subscribe", channel="alerts", since=since)
    assert (refusal["code"], refusal["field"]) == ("invalid_field", "since")


@pytest.mark.parametrize("channel", ["telemetry", "system"])
async def test_live_values_have_no_past(server: Server, channel: str) -> None:
    client = await server.client()
    refusal = await client.refusal(type="subscribe", channel=channel, since="e-1")
    assert refusal["field"] == "since"


# --- Endpoints of one channel --------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "pattern"),
    [("telemetry", "telemetry.*"), ("alerts", "alerts.*"), ("system", "system")],
)
async def test_an_endpoint_of_one_channel_is_subscribed_to_it(
    server: Server, hub: Hub, channel: str, pattern: str
) -> None:
    client = await server.client(channel=channel)
    answer = await client.hear()
    assert (answer["type"], answer["channel"], answer["device_id"]) == (
        "subscribed",
        channel,
        None,
    )
    assert list(cohorts_of(hub)) == [pattern]


async def test_narrowing_replaces_what_the_endpoint_gave(server: Server, hub: Hub) -> None:
    client = await server.client(channel="alerts")
    await client.hear()
    await client.ask(type="subscribe", channel="alerts", device_id=1)
    assert list(cohorts_of(hub)) == ["alerts.1"]
    await client.ask(type="subscribe", channel="alerts", device_id=2)
    assert list(cohorts_of(hub)) == ["alerts.1", "alerts.2"]
    await client.ask(type="subscribe", channel="alerts")
    await client.ask(type="subscribe", channel="alerts", device_id=3)
    assert "alerts.*" in cohorts_of(hub)


async def test_a_refused_narrowing_changes_nothing(server: Server, hub: Hub) -> None:
    client = await server.client(channel="alerts")
    await client.hear()
    await client.refusal(type="subscribe", channel="alerts", device_id=99)
    assert list(cohorts_of(hub)) == ["alerts.*"]


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
async def test_another_channel_is_at_the_wrong_endpoint(server: Server, kind: str) -> None:
    client = await server.client(channel="alerts")
    await client.hear()
    refusal = await client.refusal(type=kind, channel="telemetry")
    assert (refusal["code"], refusal["field"]) == ("wrong_endpoint", "channel")


async def test_who_may_not_hear_the_channel_is_told_and_stays(server: Server) -> None:
    client = await server.client("device", channel="telemetry")
    assert (await client.hear())["code"] == "forbidden"
    assert (await client.ask(type="ping"))["type"] == "pong"


def test_the_document_s_examples_are_json() -> None:
    for text, _ in SUBSCRIBED:
        json.loads(text)
