"""Several messages in one: `Batch`, answered one by one, in order."""

from typing import TYPE_CHECKING

import msgspec

from realtime.core.errors import Failure, Invalid
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import Incoming
from realtime.dialects.pubsub.schema.incoming import BATCH_MAX, Batch

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

# Those whose answers come later, in order by themselves; all others wait for these.
PUBLISHING = frozenset({"Broadcast", "DirectMessage"})
PLACE = "data.messages"


class TooMany(Invalid):
    """Raised when a batch has more messages than it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a batch has at most {limit} messages", field=PLACE)
        self.details = {"limit": limit}


async def on_batch(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Do what each message asks for, one after another; then acknowledge the batch itself.

    Each counts against the rate. A wrong one is answered, and the next one is read.
    """
    messages = _messages_of(consumer, message)
    if wait := consumer.spend(len(messages) - 1):
        consumer.refuse_early(wait, message.id)
        return
    for place, raw in enumerate(messages):
        await _on_one(consumer, place, raw)
    if message.id is not None:
        await consumer.answers.until_all()
        consumer.answer(schema.ack(message.id, "completed"))


def _messages_of(consumer: "PubsubConsumer", message: Incoming) -> list[msgspec.Raw]:
    limit = min(consumer.limits.batch_items or BATCH_MAX, BATCH_MAX)
    try:
        messages = schema.parse_data(message.data, Batch).messages
    except Invalid as refusal:
        raise TooMany(limit) if "length <=" in str(refusal) else refusal from None
    if len(messages) > limit:
        raise TooMany(limit)
    return messages


async def _on_one(consumer: "PubsubConsumer", place: int, raw: msgspec.Raw) -> None:
    message_id = None
    try:
        message = schema.parse(raw)
        message_id = message.id
        if message.type == "Batch":
            raise Invalid("a batch holds no batch", field="type")
        if message.type not in PUBLISHING and not message.type.startswith("X-"):
            await consumer.answers.until_all()
        await consumer.handle(message)
    except Failure as refusal:
        if isinstance(refusal, Invalid):
            here = f"{PLACE}[{place}]"
            refusal.field = f"{here}.{refusal.field}" if refusal.field else here
        consumer.answers.put(consumer.refusal(refusal, message_id or schema.id_of(raw)))
