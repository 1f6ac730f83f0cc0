"""The plain Channels way: a JSON consumer that saves each frame with the ORM.

It checks neither token nor frame, which is in its favour.
"""

import os
import uuid
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.settings")
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402

from bench.peers.models import Frame  # noqa: E402


class SimulationConsumer(AsyncJsonWebsocketConsumer):
    """Stores every frame under one surgery, answers FINISH with SAVED."""

    async def connect(self) -> None:
        self.surgery = uuid.uuid4()
        await self.accept()

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        await Frame.objects.acreate(surgery=self.surgery, **content)
        if content["event"] == "FINISH":
            await self.send_json({"status": "SAVED", "surgeryId": str(self.surgery)})


application = SimulationConsumer.as_asgi()
