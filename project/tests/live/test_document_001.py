"""The Python client that the telemetry document prints, run as it is."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import websockets

from project.tests.live import documents
from project.tests.live.halls import new_device, sign_in, telemetry, until
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server

Connect = Callable[..., RawWebSocket]


@pytest.fixture(scope="module")
def printed() -> type:
    """Return the class, compiled from the document."""
    text = documents.read(documents.TELEMETRY)
    source = documents.section_of(text, "import asyncio\n", until="# Usage example")
    names: dict[str, Any] = {}
    exec(compile(source, documents.TELEMETRY, "exec"), names)
    client: type = names["ValtronicsWebSocketClient"]
    return client


def test_the_python_client_signs_in_subscribes_and_listens(
    server: Server, printed: type, connect: Connect
) -> None:
    device, token = new_device()
    operator = server.token_for("operator")
    updates: list[dict[str, Any]] = []

    class Listening(printed):  # type: ignore[misc, valid-type]
        async def handle_telemetry_update(self, data: dict[str, Any]) -> None:
            await super().handle_telemetry_update(data)
            updates.append(data)
            self.running = False
            await self.ping()

    async def listen() -> None:
        client = Listening(server.ws_url("/ws"), operator)
        await client.connect()
        await client.subscribe("telemetry", {"device_id": device.pk})
        await client.subscribe("alerts", {"severity": ["critical", "warning"]})
        await client.subscribe("devices")
        listening = asyncio.create_task(client.listen())
        await asyncio.to_thread(report)
        async with asyncio.timeout(10):
            await listening
        await client.disconnect()

    def report() -> None:
        reporter = sign_in(connect(server.ws_url("/ws")), token)
        reporter.send_json(telemetry(device.pk, "p1", temperature=21.0))
        assert until(reporter, "telemetry_ack")["accepted"] == 1

    asyncio.run(listen())
    assert updates[0]["telemetry"]["temperature"]["value"] == 21.0


def test_the_python_client_is_told_that_its_token_is_bad(server: Server, printed: type) -> None:
    async def knock() -> None:
        client = printed(server.ws_url("/ws"), "nonsense")
        with pytest.raises(Exception, match="Authentication failed"):
            await client.connect()
        with contextlib.suppress(websockets.ConnectionClosed):
            await client.websocket.recv()
        assert client.websocket.close_code == 1008

    asyncio.run(knock())
