"""What devices report and are told, and who may report for whom."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import Error as DatabaseProblem

from devices.services import commands, devices
from realtime.core.errors import Conflict, NotFound
from realtime.core.events import Measured
from realtime.dialects.telemetry import consumer, device
from realtime.dialects.telemetry.device import Connected, Deliveries
from realtime.hub import Hub
from realtime.tests.device_events import command_issued
from realtime.tests.dialects.telemetry import examples
from realtime.tests.dialects.telemetry.rooms import Server, known
from realtime.tests.doubles import FakeTransport, member, principal, user_id_of
from realtime.tests.wire import turns

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
VALUE = {"t": {"value": 1}}


class Services:
    """Stands for the services: keeps what they were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer: Any = None

    async def ask(self, service: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("now", None)
        self.asked.append((service, *args, kwargs))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    services = Services()
    monkeypatch.setattr(device, "ask", services.ask)
    monkeypatch.setattr(consumer, "ask", services.ask)
    return services


# --- Readings ------------------------------------------------------------------------------


async def test_a_device_s_report_is_taken_in_as_it_was_measured(server: Server) -> None:
    client = await server.client("device")
    client.say(examples.TELEMETRY)
    assert await client.hear() == {
        "type": "telemetry_ack",
        "id": "a1",
        "device_id": 1,
        "accepted": 1,
    }
    (report,) = server.intake.reports
    assert (report.device_id, report.account_id) == (1, user_id_of("probe"))
    assert report.message_id == "a1"
    assert report.metrics == {"temperature": Measured(23.5, "°C", NOON)}


async def test_a_device_may_not_report_for_another(server: Server) -> None:
    client = await server.client("device")
    for device_id in (2, 3, 99):
        refusal = await client.refusal(
            type="telemetry", device_id=device_id, telemetry=VALUE, id="a1"
        )
        assert (refusal["code"], refusal["field"]) == ("forbidden", "device_id")
        assert refusal["id"] == "a1"
    assert not server.intake.reports


async def test_who_manages_devices_may_report_for_any_in_service(server: Server) -> None:
    client = await server.client("operator")
    for device_id in (1, 2, 3):
        answer = await client.ask(type="telemetry", device_id=device_id, telemetry=VALUE)
        assert (answer["type"], answer["id"]) == ("telemetry_ack", None)
    refusal = await client.refusal(type="telemetry", device_id=99, telemetry=VALUE)
    assert (refusal["code"], refusal["field"]) == ("unknown_device", "device_id")
    refusal = await client.refusal(type="telemetry", device_id=4, telemetry=VALUE)
    assert (refusal["code"], refusal["field"]) == ("forbidden", "device_id")


async def test_a_viewer_may_report_nothing(server: Server, services: Services) -> None:
    client = await server.client("viewer")
    for message in (
        {"type": "telemetry", "device_id": 1, "telemetry": VALUE},
        {"type": "heartbeat", "device_id": 1},
        {"type": "heartbeat"},
        {"type": "status", "device_id": 1, "status": "online"},
        {"type": "command_response", "command_id": 7, "status": "executed"},
    ):
        assert (await client.refusal(**message))["code"] == "forbidden"
    assert not services.asked
    assert not server.intake.signs_of_life


async def test_a_device_that_was_just_added_may_report(server: Server) -> None:
    server.intake.unread[5] = known(5)
    client = await server.client("operator")
    answer = await client.ask(type="telemetry", device_id=5, telemetry=VALUE)
    assert answer["type"] == "telemetry_ack"


async def test_a_device_whose_account_became_another_s_may_report_no_more(
    server: Server,
) -> None:
    client = await server.client("device")
    server.intake.registry.put([known(1, "somebody else")])
    refusal = await client.refusal(type="telemetry", device_id=1, telemetry=VALUE)
    assert refusal["code"] == "forbidden"


async def test_another_role_counts_from_the_next_message(server: Server, hub: Hub) -> None:
    client = await server.client("operator")
    (one,) = hub
    one.session.principal = principal("olga", role="ROLE_VIEWER", endpoints=("telemetry",))
    refusal = await client.refusal(type="telemetry", device_id=1, telemetry=VALUE)
    assert refusal["code"] == "forbidden"


# --- Signs of life and status --------------------------------------------------------------


async def test_a_heartbeat_is_a_sign_of_life_and_not_answered(server: Server) -> None:
    client = await server.client("device")
    client.say(examples.HEARTBEAT)
    assert (await client.ask(type="ping"))["type"] == "pong"
    assert server.intake.signs_of_life == [1, 1]


async def test_who_is_no_device_names_one(server: Server) -> None:
    client = await server.client("operator")
    refusal = await client.refusal(type="heartbeat")
    assert (refusal["code"], refusal["field"]) == ("missing_field", "device_id")
    client.send(type="heartbeat", device_id=2)
    assert (await client.ask(type="ping"))["type"] == "pong"
    assert server.intake.signs_of_life == [2]


async def test_a_status_is_set(server: Server, services: Services) -> None:
    client = await server.client("device")
    client.say(examples.STATUS)
    assert (await client.ask(type="ping"))["type"] == "pong"
    expected = (devices.change_status, 1, "maintenance", {"reason": "cleaning"})
    assert services.asked == [expected]
    assert server.intake.signs_of_life == [1, 1]


async def test_a_good_bye_is_no_sign_of_life(server: Server, services: Services) -> None:
    client = await server.client("device")
    client.send(type="status", status="offline")
    assert (await client.ask(type="ping"))["type"] == "pong"
    assert server.intake.signs_of_life == [1]


async def test_a_device_may_not_set_another_s_status(server: Server, services: Services) -> None:
    client = await server.client("device")
    refusal = await client.refusal(type="status", status="online", device_id=2)
    assert (refusal["code"], refusal["field"]) == ("forbidden", "device_id")
    assert not services.asked


async def test_a_database_that_is_away_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call(*_: Any, **__: Any) -> None:
        raise DatabaseProblem("away")

    monkeypatch.setattr(device, "call", call)
    client = await server.client("device")
    refusal = await client.refusal(type="status", status="online")
    assert refusal["code"] == "unavailable"
    assert refusal["retry_after_ms"] > 0


# --- Commands ------------------------------------------------------------------------------


class Row:
    """A command as the service returns it."""

    def __init__(self, pk: int, device_id: int = 1) -> None:
        self.pk = pk
        self.device_id = device_id
        self.command = "restart"
        self.parameters: dict[str, Any] = {"delay": pk}


async def test_how_a_command_went_is_kept(server: Server, services: Services) -> None:
    services.answer = Row(7)
    client = await server.client("device")
    client.say(examples.COMMAND_RESPONSE)
    assert (await client.ask(type="ping"))["type"] == "pong"
    told = {"device_id": 1, "status": "executed", "result": {}}
    assert services.asked == [(commands.end_command, 7, told)]


async def test_a_person_may_say_how_any_command_went(server: Server, services: Services) -> None:
    services.answer = Row(7, 2)
    client = await server.client("operator")
    client.say(examples.COMMAND_RESPONSE)
    assert (await client.ask(type="ping"))["type"] == "pong"
    assert services.asked[0][2]["device_id"] is None
    assert server.intake.signs_of_life == [2]


@pytest.mark.parametrize(
    ("problem", "code", "field"),
    [
        (NotFound("Command not found"), "not_found", "command_id"),
        (Conflict("the command is failed already"), "conflict", None),
    ],
)
async def test_a_command_that_is_not_the_device_s_or_ended_is_told(
    server: Server, services: Services, problem: Exception, code: str, field: str | None
) -> None:
    services.answer = problem
    client = await server.client("device")
    client.say(examples.COMMAND_RESPONSE)
    refusal = await client.hear()
    assert (refusal["code"], refusal.get("field")) == (code, field)


class Queue:
    """Stands for the database: each command is taken once."""

    def __init__(self) -> None:
        self.waiting: list[Row] = []
        self.is_away = False
        self.asked = 0

    async def call(self, service: Callable[..., Any], device_id: int, **_: Any) -> list[Row]:
        assert service is commands.take_commands
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise DatabaseProblem("away")
        taken = [each for each in self.waiting if each.device_id == device_id]
        self.waiting = [each for each in self.waiting if each.device_id != device_id]
        return taken


@pytest.fixture
def commands_waiting(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    monkeypatch.setattr(device, "call", queue.call)
    monkeypatch.setattr(device, "AWAY_SECONDS", 0.001)
    return queue


async def test_waiting_commands_are_delivered_in_order_when_the_device_comes(
    commands_waiting: Queue,
) -> None:
    commands_waiting.waiting = [Row(1), Row(2, device_id=2), Row(3)]
    transport = FakeTransport()
    Connected().add(Deliveries(1, member(transport=transport)))
    await turns()
    assert transport.texts == [
        '{"type":"command","command_id":1,"command":"restart","parameters":{"delay":1}}',
        '{"type":"command","command_id":3,"command":"restart","parameters":{"delay":3}}',
    ]
    assert [each.pk for each in commands_waiting.waiting] == [2]


async def test_a_new_command_is_delivered_by_the_newest_of_the_device_s_connections(
    commands_waiting: Queue,
) -> None:
    connected, transports = Connected(), [FakeTransport(), FakeTransport(), FakeTransport()]
    for device_id, transport in zip((1, 1, 2), transports, strict=True):
        connected.add(Deliveries(device_id, member(transport=transport)))
    await turns()
    commands_waiting.waiting = [Row(1)]
    connected.on_issued(command_issued(device=1))
    await turns()
    assert [len(transport.texts) for transport in transports] == [0, 1, 0]


async def test_a_command_issued_while_others_are_taken_is_looked_for_again(
    commands_waiting: Queue,
) -> None:
    transport, connected = FakeTransport(), Connected()
    connected.add(Deliveries(1, member(transport=transport)))
    connected.on_issued(command_issued(device=1))
    await asyncio.sleep(0)
    commands_waiting.waiting = [Row(1)]
    connected.on_issued(command_issued(device=1))
    await turns(20)
    assert len(transport.texts) == 1


async def test_a_connection_that_is_closed_takes_no_command(commands_waiting: Queue) -> None:
    commands_waiting.waiting = [Row(1)]
    transport = FakeTransport()
    transport.is_open = False
    connected = Connected()
    deliveries = Deliveries(1, member(transport=transport))
    connected.add(deliveries)
    await turns()
    assert len(commands_waiting.waiting) == 1
    connected.remove(deliveries)
    connected.remove(deliveries)
    connected.on_issued(command_issued(device=1))
    assert commands_waiting.asked == 0


async def test_a_connection_that_does_not_read_takes_no_command_until_it_does(
    commands_waiting: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "BLOCKED_SECONDS", 0.001)
    commands_waiting.waiting = [Row(1)]
    transport = FakeTransport()
    transport.is_blocked = True
    Connected().add(Deliveries(1, member(transport=transport)))
    await asyncio.sleep(0.01)
    assert not transport.texts
    transport.is_blocked = False
    await asyncio.sleep(0.02)
    assert len(transport.texts) == 1


async def test_a_database_that_is_away_is_asked_again_while_the_device_is_there(
    commands_waiting: Queue,
) -> None:
    commands_waiting.is_away = True
    commands_waiting.waiting = [Row(1)]
    transport = FakeTransport()
    Connected().add(Deliveries(1, member(transport=transport)))
    await asyncio.sleep(0.01)
    commands_waiting.is_away = False
    await asyncio.sleep(0.02)
    assert len(transport.texts) == 1


async def test_who_signs_in_as_a_device_is_connected_until_it_leaves(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(Deliveries, "look", lambda self: looked.append(self.device_id))
    client = await server.client("device")
    await turns()
    server.connected.on_issued(command_issued(device=1))
    server.connected.on_issued(command_issued(device=2))
    assert looked == [1, 1]
    await client.wire.end()
    server.connected.on_issued(command_issued(device=1))
    assert looked == [1, 1]


# --- Error reports -------------------------------------------------------------------------


async def test_an_error_report_is_kept_and_not_answered(server: Server, services: Services) -> None:
    client = await server.client()
    client.say(examples.ERROR_REPORT)
    assert (await client.ask(type="ping"))["type"] == "pong"
    (asked,) = services.asked
    assert asked[1] == {
        "username": "olga",
        "address": "192.0.2.1",
        "error": "no such type",
        "message": '{"type":"x"}',
    }


async def test_error_reports_are_limited(server: Server, services: Services) -> None:
    client = await server.client()
    client.say(examples.ERROR_REPORT)
    client.say(examples.ERROR_REPORT)
    refusal = await client.hear()
    assert (refusal["code"], refusal["limit"]) == ("rate_limited", 1)
    assert len(services.asked) == 1
