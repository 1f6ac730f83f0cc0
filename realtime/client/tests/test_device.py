"""A device's reports arrive, once each, whatever happens to its connections."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from realtime.client import device as module
from realtime.client.connection import when_final
from realtime.client.device import DeviceClient, Value
from realtime.client.errors import NotAllowed, ServerBusy, TokenExpired, Unreadable
from realtime.client.tests.doubles import PROMPT, Tokens, serving

TEMPERATURE = {"temperature": Value(23.5, "°C", "2024-01-01T12:00:00Z")}


class Hall:
    """Takes reports as the server does: `stored` survives a cut, by id."""

    def __init__(self) -> None:
        self.stored: dict[str, dict] = {}
        self.heard: list[dict] = []
        self.is_complete = asyncio.Event()
        self.expected = 1

    async def let_in(self, connection):
        await connection.send('{"type":"auth_response","success":true}')

    async def serve(self, connection):
        """Acknowledge everything."""
        await self.let_in(connection)
        async for text in connection:
            message = json.loads(text)
            self.heard.append(message)
            if message["type"] == "telemetry":
                self.stored[message["id"]] = message
                await connection.send(
                    json.dumps({"type": "telemetry_ack", "id": message["id"], "accepted": 1})
                )
            if len(self.stored) >= self.expected:
                self.is_complete.set()

    def store_then_cut(self, count: int):
        """Return a handler that stores `count` reports, answers none and cuts."""

        async def handle(connection):
            await self.let_in(connection)
            for _ in range(count):
                message = json.loads(await connection.recv())
                self.stored[message["id"]] = message
            connection.transport.abort()

        return handle

    def send_then_serve(self, *messages: dict):
        async def handle(connection):
            await self.let_in(connection)
            for message in messages:
                await connection.send(json.dumps(message))
            async for text in connection:
                self.heard.append(json.loads(text))
                self.is_complete.set()

        return handle


@pytest.fixture
def hall() -> Hall:
    return Hall()


@asynccontextmanager
async def running(client: DeviceClient):
    task = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(5):
            yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def device_at(url: str, **options) -> DeviceClient:
    return DeviceClient(url, Tokens(), device_id=7, backoff=PROMPT, **options)


async def test_a_report_is_sent_with_its_device_and_an_id(hall):
    async with serving(hall.serve) as url:
        client = device_at(url)
        report_id = client.report(TEMPERATURE)
        async with running(client):
            await client.settled()
    assert hall.stored[report_id] == {
        "type": "telemetry",
        "id": report_id,
        "device_id": 7,
        "telemetry": {
            "temperature": {"value": 23.5, "unit": "°C", "timestamp": "2024-01-01T12:00:00Z"}
        },
    }


async def test_what_was_not_acknowledged_is_sent_again_with_the_same_id(hall):
    async with serving(hall.store_then_cut(2), hall.serve) as url:
        client = device_at(url)
        ids = [client.report(TEMPERATURE) for _ in range(5)]
        async with running(client):
            await client.settled()
    assert list(hall.stored) == ids
    assert [message["id"] for message in hall.heard] == ids


async def test_a_command_is_done_and_its_result_told(hall):
    async def obey(command, parameters):
        return {"did": command, "with": parameters}

    command = {"type": "command", "command_id": 3, "command": "calibrate", "parameters": {"n": 1}}
    async with (
        serving(hall.send_then_serve(command)) as url,
        running(device_at(url, on_command=obey)),
    ):
        await hall.is_complete.wait()
    assert hall.heard == [
        {
            "type": "command_response",
            "command_id": 3,
            "status": "executed",
            "result": {"did": "calibrate", "with": {"n": 1}},
        }
    ]


async def test_a_command_that_it_does_not_know_has_failed(hall):
    command = {"type": "command", "command_id": 3, "command": "fly", "parameters": {}}
    async with serving(hall.send_then_serve(command)) as url, running(device_at(url)):
        await hall.is_complete.wait()
    assert hall.heard[0]["status"] == "failed"
    assert "fly" in hall.heard[0]["result"]["error"]


async def test_a_report_that_the_server_can_never_take_is_given_up(hall):
    async def refuse(connection):
        await hall.let_in(connection)
        message = json.loads(await connection.recv())
        await connection.send(
            json.dumps({"type": "error", "code": "invalid", "message": "no", "id": message["id"]})
        )
        await connection.wait_closed()

    async with serving(refuse) as url:
        client = device_at(url)
        client.report(TEMPERATURE)
        async with running(client):
            await client.settled()
    assert client.dropped == 1


async def test_without_a_connection_the_oldest_reports_make_room(monkeypatch):
    monkeypatch.setattr(module, "KEPT_MAX", 3)
    client = device_at("http://127.0.0.1:1")
    for _ in range(5):
        client.report(TEMPERATURE)
    assert (client.unacknowledged, client.dropped) == (3, 2)


async def test_it_shows_that_it_lives_when_it_has_nothing_to_report(hall, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.001)
    async with serving(hall.send_then_serve()) as url, running(device_at(url)):
        await hall.is_complete.wait()
    assert hall.heard[0] == {"type": "heartbeat"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"type": "auth_response", "success": False, "error": "invalid_token"}, NotAllowed),
        ({"type": "auth_response", "success": False, "error": "token_expired"}, TokenExpired),
        ({"type": "auth_response", "success": False, "error": "rate_limited"}, ServerBusy),
        ({"type": "pong"}, Unreadable),
    ],
)
async def test_who_is_not_let_in_learns_why(answer, kind):
    async def refuse(connection):
        await connection.send(json.dumps(answer))

    async with serving(refuse) as url:
        client = device_at(url, gives_up=lambda error: True)
        with pytest.raises(kind):
            await client.run()


async def test_a_refusal_says_when_to_try_again():
    async def refuse(connection):
        answer = {"type": "auth_response", "success": False, "error": "rate_limited"}
        await connection.send(json.dumps({**answer, "retry_after_ms": 1500}))

    async with serving(refuse) as url:
        with pytest.raises(ServerBusy) as refused:
            await device_at(url, gives_up=lambda error: True).run()
    assert refused.value.retry_after == 1.5


async def test_a_token_that_is_refused_for_good_ends_it():
    async def refuse(connection):
        await connection.send('{"type":"auth_response","success":false,"error":"forbidden"}')

    async with serving(refuse) as url:
        with pytest.raises(NotAllowed):
            await device_at(url, gives_up=when_final).run()
