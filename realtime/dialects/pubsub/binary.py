"""Binary messages: each goes the way of the text message that it stands for.

They have no id. Their answers keep the order of the messages, as those of text do, and tell the
content's checksum, errors too: by it a sender knows which of its messages is meant.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.db import Error as DatabaseProblem
from msgspec.structs import replace

from realtime import files
from realtime.calls import call
from realtime.core.errors import Failure, Forbidden, Invalid, Unavailable
from realtime.core.events import StreamChunkSent
from realtime.core.session import STREAMS
from realtime.core.topics import check_topic
from realtime.dialects.pubsub import publishing, schema
from realtime.dialects.pubsub.schema import (
    BinaryMessage,
    Incoming,
    Kind,
    PubsubBinaryDialect,
    payload_of_content,
)

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

logger = logging.getLogger("vitalwire.pubsub")

BINARY_DIALECT: Final = PubsubBinaryDialect()
# What a text message's `target_user` may have.
USER_LENGTH: Final = 150

Way = Callable[["PubsubConsumer", BinaryMessage], Awaitable[None]]


async def on_binary(consumer: "PubsubConsumer", data: bytes) -> None:
    """Do what a binary message asks for, and answer it. Raises Invalid for a header that lies."""
    message = schema.parse_binary(data)
    await consumer.answers.until_room()
    try:
        await WAYS[message.kind](consumer, message)
    except Failure as refusal:
        consumer.answers.put(_refused(consumer, message, refusal))


async def _broadcast(consumer: "PubsubConsumer", message: BinaryMessage) -> None:
    """Say it on a topic: committed before it is answered, as text is."""
    payload = payload_of_content(message.content)
    incoming = Incoming("Broadcast")
    event = publishing.published(consumer, incoming, message.address, payload)
    answer = publishing.broadcast(consumer, replace(event, is_binary=True), message_id=None)
    consumer.answers.expect(_answered(consumer, message, answer))


async def _send_direct(consumer: "PubsubConsumer", message: BinaryMessage) -> None:
    """Say it to one user, given by name or id; it waits for one who is away."""
    target = message.address
    if len(target) > USER_LENGTH:
        raise Invalid(f"a user is called by at most {USER_LENGTH} characters")
    payload = payload_of_content(message.content)
    event = await publishing.addressed(consumer, Incoming("DirectMessage"), target, payload)
    event = replace(event, is_binary=True)
    answer = publishing.send_direct(consumer, event, target, message_id=None)
    consumer.answers.expect(_answered(consumer, message, answer))


async def _store(consumer: "PubsubConsumer", message: BinaryMessage) -> None:
    """Keep a file in the sender's private area, in place of one with the same name."""
    principal = consumer.member.session.principal
    if not principal.may_message:
        raise Forbidden("your role only reads: it may not store files")
    area = files.area_of_user(principal.user_id)
    now = datetime.now(UTC)
    try:
        file = await call(files.save_file, area, message.address, message.content, now=now)
    except DatabaseProblem as problem:
        raise Unavailable("the database does not answer: try again later") from problem
    consumer.answers.put(_received(message, name=file.name))


async def _stream(consumer: "PubsubConsumer", message: BinaryMessage) -> None:
    """Relay a piece of a stream to whoever hears it now, in every process."""
    principal = consumer.member.session.principal
    check_topic(f"{STREAMS}.{message.address}")
    if not principal.may_stream:
        raise Forbidden("your role may not stream")
    chunk = StreamChunkSent(
        id=uuid.uuid4().hex,
        at=datetime.now(UTC),
        stream=message.address,
        sender=principal.username,
        content=message.content,
    )
    consumer.backing.publish_live(chunk)
    consumer.answers.put(_received(message))


WAYS: Final[dict[Kind, Way]] = {
    Kind.BROADCAST: _broadcast,
    Kind.DIRECT_MESSAGE: _send_direct,
    Kind.FILE_TRANSFER: _store,
    Kind.STREAM_DATA: _stream,
}


# --- Answers ---------------------------------------------------------------------------------


async def _answered(
    consumer: "PubsubConsumer", message: BinaryMessage, answer: Awaitable[dict[str, Any]]
) -> bytes:
    """Wait for what became of a message and return its answer; raises nothing."""
    try:
        data = dict(await answer)
    except Failure as refusal:
        return _refused(consumer, message, refusal)
    except Exception:
        logger.exception("a binary message could not be published")
        return _refused(consumer, message, None)
    del data["status"]
    return _received(message, **data)


def _received(message: BinaryMessage, **more: Any) -> bytes:
    return schema.status("binary_received", {**message.details, **more})


def _refused(consumer: "PubsubConsumer", message: BinaryMessage, refusal: Failure | None) -> bytes:
    if isinstance(refusal, Invalid):
        # We look into nothing but the address.
        refusal = Invalid(str(refusal), field="address")
    return consumer.refusal(refusal, None, **message.details)
