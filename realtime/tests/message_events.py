"""What people and applications tell each other, as events with something in every field."""

from datetime import datetime
from typing import Any

import msgspec

from realtime.core.events import (
    Action,
    DirectMessageSent,
    Notified,
    PresenceChanged,
    Published,
    StreamChunkSent,
)
from realtime.core.events.messages import Priority
from realtime.tests.doubles import NOW, user_id_of


def published(
    id: str = "p",
    to: str = "chat.general",
    *,
    payload: Any = "hello",
    sender: str = "ana",
    name: str = "Broadcast",
    priority: Priority = "normal",
    expires_at: datetime | None = None,
    is_binary: bool = False,
    metadata: dict[str, Any] | None = None,
) -> Published:
    return Published(
        id=id,
        at=NOW,
        to=to,
        sender=sender,
        sender_id=user_id_of(sender),
        name=name,
        payload=msgspec.Raw(msgspec.json.encode(payload)),
        is_binary=is_binary,
        priority=priority,
        expires_at=expires_at,
        metadata=metadata or {},
    )


def direct_message(
    id: str = "d", to: str = "bea", *, payload: Any = "psst", sender: str = "ana"
) -> DirectMessageSent:
    return DirectMessageSent(
        id=id,
        at=NOW,
        recipient_id=user_id_of(to),
        sender=sender,
        sender_id=user_id_of(sender),
        name="DirectMessage",
        payload=msgspec.Raw(msgspec.json.encode(payload)),
    )


def stream_chunk(
    id: str = "s", stream: str = "camera", content: bytes = b"\x00x"
) -> StreamChunkSent:
    return StreamChunkSent(id=id, at=NOW, stream=stream, sender="ana", content=content)


def notified(id: str = "n", *, to: str | None = None, role: str | None = None) -> Notified:
    return Notified(
        id=id,
        at=NOW,
        level="warning",
        title="Maintenance",
        message="In one hour",
        actions=(Action("Learn more", "https://status.example.com"),),
        recipient_id=None if to is None else user_id_of(to),
        role=role,
    )


def presence_changed(id: str = "c", username: str = "ana") -> PresenceChanged:
    return PresenceChanged(
        id=id,
        at=NOW,
        username=username,
        user_id=user_id_of(username),
        status="online",
        last_seen=NOW,
        metadata={"device": "web"},
    )
