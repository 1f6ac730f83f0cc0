"""Events in this dialect's words; imports `realtime.core` only."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from realtime.core.events import (
    DirectMessageSent,
    Event,
    Notified,
    PresenceChanged,
    Published,
    StreamChunkSent,
)
from realtime.core.events.messages import Message
from realtime.core.session import Gap
from realtime.core.topics import REST
from realtime.dialects.pubsub.schema import outgoing
from realtime.dialects.pubsub.schema.outgoing import Metadata, milliseconds
from realtime.dialects.pubsub.schema.payloads import (
    HappeningBroadcast,
    HappeningDelivery,
    payload_of,
)

BROADCAST = "Broadcast"

_encode = msgspec.json.Encoder().encode


class PubsubDialect:
    """Every domain event is a `Broadcast` on its topic."""

    name = "pubsub"
    overtakes = True

    def render(
        self, event: Event, position: str | None, *, recover_from: str | None = None
    ) -> bytes | None:
        metadata = Metadata(
            sent_at=milliseconds(event.at),
            message_id=event.id,
            position=UNSET if position is None else position,
            recover_from=UNSET if recover_from is None else recover_from,
        )
        message = _message_of(event, metadata)
        return None if message is None else _encode(message)

    def is_binary(self, event: Event) -> bool:
        return False

    def render_gap(self, gap: Gap) -> bytes | None:
        """Tell how many were skipped, and where it is known a pattern for their topics and when."""
        first, last = gap.first_at, gap.last_at
        return _encode(
            outgoing.Gap(
                outgoing.GapData(
                    topic=f"{gap.root}.{REST}" if gap.root else UNSET,
                    from_=UNSET if first is None else milliseconds(first),
                    to=UNSET if last is None else milliseconds(last),
                    skipped=gap.skipped,
                    reason=gap.reason,
                )
            )
        )


def _message_of(event: Event, metadata: Metadata) -> Any:
    match event:
        case Published():
            delivery = outgoing.Delivery(
                topic=event.to,
                from_user=event.sender,
                payload=_payload(event),
                metadata=_carried(event, metadata),
            )
            if event.name == BROADCAST:
                return outgoing.Broadcast(delivery)
            return outgoing.Relayed(event.name, delivery)
        case DirectMessageSent():
            return outgoing.DirectMessage(
                outgoing.DirectDelivery(
                    from_user=event.sender,
                    payload=_payload(event),
                    metadata=_carried(event, metadata),
                )
            )
        case StreamChunkSent():
            return outgoing.Broadcast(
                outgoing.Delivery(
                    topic=event.topic,
                    from_user=event.sender,
                    payload=_in_base64(Raw(_encode(event.content))),
                    metadata=metadata,
                )
            )
        case Notified():
            return outgoing.Notification(
                outgoing.NotificationData(
                    level=event.level,
                    title=event.title,
                    message=event.message,
                    actions=event.actions,
                    metadata=metadata,
                )
            )
        case PresenceChanged():
            return outgoing.PresenceUpdate(
                outgoing.PresenceData(
                    user_id=event.username,
                    status=event.status,
                    last_seen=milliseconds(event.last_seen),
                    metadata=event.metadata,
                    position=metadata.position,
                )
            )
    payload = payload_of(event)
    if payload is None:
        return None
    return HappeningBroadcast(
        HappeningDelivery(topic=event.topic, payload=payload, metadata=metadata)
    )


def _payload(event: Message) -> Raw:
    return _in_base64(event.payload) if event.is_binary else event.payload


def _in_base64(text: Raw) -> Raw:
    """Return the payload for who takes no bytes, of a JSON string that is base64 already."""
    return Raw(_encode(outgoing.InBase64(text)))


def _carried(event: Message, metadata: Metadata) -> Any:
    """Return what the sender gave with ours over it: nobody writes our keys for us."""
    if not event.metadata:
        return metadata
    return {**event.metadata, **msgspec.to_builtins(metadata)}
