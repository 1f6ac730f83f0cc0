"""The plain Channels way to fan out: every subscriber in a group, one `group_send` an event."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.layer_settings")
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402

GROUP = "telemetry"


class Peer(AsyncWebsocketConsumer):
    """Whoever sends a text tells it to everyone who listens. It is handed on unread."""

    async def connect(self) -> None:
        if self.scope["path"] == "/listen":
            await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send(GROUP, {"type": "telemetry.update", "text": text_data})

    async def telemetry_update(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


application = Peer.as_asgi()
