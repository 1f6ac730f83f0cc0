"""The plain Channels way: a JSON consumer that saves each reading with the ORM.

It checks neither token nor reading, looks for no repetition and has no rules, which is in its
favour.
"""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.settings")
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402

from bench.peers.models import Reading  # noqa: E402


class TelemetryConsumer(AsyncJsonWebsocketConsumer):
    """Stores every reading and acknowledges it."""

    async def connect(self) -> None:
        await self.accept()

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        if content["type"] == "batch":
            results = [await self.store(message) for message in content["messages"]]
            await self.send_json({"type": "batch_response", "results": results})
        else:
            await self.send_json(await self.store(content))

    async def store(self, message: dict[str, Any]) -> dict[str, Any]:
        for metric, measured in message["telemetry"].items():
            await Reading.objects.acreate(device_id=message["device_id"], metric=metric, **measured)
        return {"type": "telemetry_ack", "id": message["id"], "accepted": 1}


application = TelemetryConsumer.as_asgi()
