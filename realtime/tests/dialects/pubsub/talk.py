"""A client of the dialect over a socket in memory."""

import json
from typing import Any

from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.dialects.pubsub.backing import Backing
from realtime.dialects.pubsub.consumer import PubsubConsumer
from realtime.hub import Hub
from realtime.tests.doubles import principal
from realtime.tests.wire import Wire, authenticated

NO_LIMITS = DialectLimits()


class Talk:
    """Sends and hears JSON."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def send(self, kind: str, data: Any = None, **more: Any) -> None:
        self.wire.say(json.dumps({"type": kind, "data": data or {}, **more}))

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.wire.hear())
        return message

    async def hear_data(self, kind: str) -> dict[str, Any]:
        """Return what the next message, which is of this type, says."""
        message = await self.hear()
        assert message["type"] == kind, message
        data: dict[str, Any] = message["data"]
        return data

    async def subscribe(self, *topics: str, **more: Any) -> dict[str, Any]:
        """Subscribe, and return the details of the confirmation."""
        self.send("Subscribe", {"topics": topics, **more})
        data = await self.hear_data("Status")
        assert data["status"] == "subscribed"
        details: dict[str, Any] = data["details"]
        return details

    async def told(self, count: int) -> list[str]:
        """Return the ids of so many deliveries."""
        found = []
        for _ in range(count):
            message = await self.hear()
            found.append(message["data"]["metadata"]["message_id"])
        return found

    async def is_silent(self) -> bool:
        """Tell whether everything was heard; what was sent before has been answered then."""
        self.send("Ping", {"timestamp": 404})
        return (await self.hear())["data"] == {"timestamp": 404}


async def talk_to(
    hub: Hub, who: Principal | None = None, *, backing: Backing | None = None
) -> Talk:
    """Return somebody who was greeted."""
    talk = Talk(Wire(**authenticated(who or principal())))
    await talk.wire.opened(PubsubConsumer(hub, NO_LIMITS, backing=backing or Backing()))
    assert (await talk.hear())["data"]["status"] == "connected"
    return talk
