"""What a client says: `Broadcast`, `DirectMessage`, types of its own, and several at once.

A message is handed over to be committed at once, in the order in which messages came; its
answer follows when it is committed, delivered and counted. Answers keep the order too.
"""

import asyncio
import logging
import random
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from realtime.calls import call
from realtime.census import DELIVERY_SECONDS, Census, Reached
from realtime.core.errors import Failure, Forbidden, Invalid, NotFound, Unavailable
from realtime.core.events import DirectMessageSent, Message, Published
from realtime.core.topics import check_topic
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.extensions import on_extension
from realtime.dialects.pubsub.metadata import read_metadata
from realtime.dialects.pubsub.schema import Incoming
from realtime.dialects.pubsub.schema.incoming import Broadcast, DirectMessage, Extension
from realtime.mailbox import is_waiting
from realtime.publisher import Publisher, Receipt, answer_of

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

logger = logging.getLogger("vitalwire.pubsub")

# The answers of one connection that are remembered, by what the client called the messages.
REMEMBERED = 1_024
# How often another process is given the time to store what it answered the first time.
ASKED_AGAIN = 5
ASKED_AGAIN_SECONDS = 0.1
# Nesting that every reader of JSON can follow, and what is looked at to know that.
DEPTH_MAX = 256
_HEADROOM = 500
_read_raw = msgspec.json.Decoder(msgspec.Raw).decode

Data = dict[str, Any]


class Undelivered(NotFound):
    """Raised when nobody got a direct message; `queued` says whether it waits for its user."""

    def __init__(self, target: str, *, queued: bool) -> None:
        super().__init__(f"User {target} not found or not connected")
        self.details = {"queued": queued}


class MayNotPublish(Forbidden):
    """Raised when the role may not publish to `topic`."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"your role may not publish to {topic}")
        self.details = {"topic": topic}


class Relayed(msgspec.Struct, frozen=True):
    """What we read of a message that is relayed."""

    topic: str
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Said:
    """What one connection has said lately, by the names it gave, with what it was answered."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, asyncio.Future[Data]] = OrderedDict()

    def get(self, message_id: str | None) -> "asyncio.Future[Data] | None":
        return None if message_id is None else self._answers.get(message_id)

    def put(self, message_id: str | None, answer: "asyncio.Future[Data]") -> None:
        """Remember the answer, unless it will say that the message was not taken."""
        if message_id is None:
            return
        self._answers[message_id] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        answer.add_done_callback(lambda done: self._forget_refused(message_id, done))

    def _forget_refused(self, message_id: str, answer: "asyncio.Future[Data]") -> None:
        was_taken = not answer.cancelled() and answer.exception() is None
        if not was_taken and self._answers.get(message_id) is answer:
            del self._answers[message_id]


# --- Messages --------------------------------------------------------------------------------


async def on_broadcast(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Say something on a topic; acknowledged when it is committed, delivered and counted."""
    if not await repeat(consumer, message.id):
        said = schema.parse_data(message.data, Broadcast)
        event = published(consumer, message, said.topic, said.payload)
        answer_later(consumer, broadcast(consumer, event, message_id=message.id), message.id)


async def on_direct_message(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Say something to one user, wherever they are, or let it wait for them."""
    if not await repeat(consumer, message.id):
        said = schema.parse_data(message.data, DirectMessage)
        event = await addressed(consumer, message, said.target_user, said.payload)
        answer = _send(consumer, event, said.target_user, message.id)
        answer_later(consumer, answer, message.id)


async def on_own_type(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Relay a type of the application's own, or let the server's handler answer it."""
    if schema.parse_data(message.data, Extension).topic is None:
        await consumer.answers.until_all()
        await on_extension(consumer, message)
    else:
        await relay(consumer, message)


async def relay(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Say it to the other subscribers of its topic, under the rules of `Broadcast`.

    What is delivered is `data.payload`, or all of `data` where there is none.
    """
    if not await repeat(consumer, message.id):
        said = schema.parse_data(message.data, Relayed)
        payload = message.data if said.payload is msgspec.UNSET else said.payload
        event = msgspec.structs.replace(
            published(consumer, message, said.topic, payload),
            name=message.type,
            not_to=consumer.member.session.id,
        )
        answer_later(consumer, broadcast(consumer, event, message_id=message.id), message.id)


# --- Events ----------------------------------------------------------------------------------


def published(
    consumer: "PubsubConsumer", message: Incoming, topic: str, payload: msgspec.Raw
) -> Published:
    """Return what is to be said on a topic. Raises BadTopic, Invalid, Forbidden."""
    check_may_publish(consumer, topic)
    return Published(to=topic, **_said(consumer, message, payload, "Broadcast"))


async def addressed(
    consumer: "PubsubConsumer", message: Incoming, target: str, payload: msgspec.Raw
) -> DirectMessageSent:
    """Return what is to be said to one user. Raises Invalid, Forbidden, Undelivered."""
    said = _said(consumer, message, payload, "DirectMessage")
    return DirectMessageSent(recipient_id=await recipient(consumer, target), **said)


def check_may_publish(consumer: "PubsubConsumer", topic: str) -> None:
    """Raise BadTopic or Forbidden unless this client may say something on `topic`."""
    check_topic(topic)
    if not consumer.member.session.principal.may_publish(topic):
        raise MayNotPublish(topic)


async def recipient(consumer: "PubsubConsumer", target: str) -> UUID:
    """Return whom a direct message is for, by id or name. Raises Forbidden, Undelivered."""
    if not consumer.member.session.principal.may_message:
        raise Forbidden("your role may not send direct messages")
    user_id = await consumer.backing.find_recipient(target)
    if user_id is None:
        raise Undelivered(target, queued=False)
    return user_id


def _said(
    consumer: "PubsubConsumer", message: Incoming, payload: msgspec.Raw, name: str
) -> dict[str, Any]:
    check_depth(payload)
    now = datetime.now(UTC)
    carried = read_metadata(message, payload, now)
    principal = consumer.member.session.principal
    return {
        "id": new_id(),
        "at": now,
        "name": name,
        "sender": principal.username,
        "sender_id": principal.user_id,
        "payload": payload,
        "priority": carried.priority,
        "expires_at": carried.expires_at,
        "metadata": carried.metadata,
        "message_id": message.id,
    }


def new_id() -> str:
    """Return an id that nobody has.

    Not `uuid4`: that asks the kernel, and gives the interpreter away for so long: 100 µs while
    the publisher's thread wants it too.
    """
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def check_depth(payload: msgspec.Raw) -> None:
    """Raise Invalid for JSON nested so deeply that a reader of the journal might give up."""
    text = bytes(payload)
    if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
        return
    try:
        _read_raw(b"[" * _HEADROOM + text + b"]" * _HEADROOM)
    except RecursionError:
        raise Invalid("the payload is nested too deeply", field="data.payload") from None


# --- Publishing ------------------------------------------------------------------------------


def broadcast(
    consumer: "PubsubConsumer", event: Published, *, message_id: str | None
) -> "asyncio.Future[Data]":
    """Publish, and return what its `Ack` will say beside the message's id.

    When this returns the message has its place in the order of the connection's messages.
    Raises Unavailable, and the future fails with it.
    """
    return _hand_over(consumer, event, None, message_id, _told_of_broadcast)


def send_direct(
    consumer: "PubsubConsumer",
    event: DirectMessageSent,
    target: str,
    *,
    message_id: str | None,
) -> Awaitable[Data]:
    """Send, and return what its `Ack` will say beside the message's id.

    The same as `broadcast`; Undelivered, too, is raised by what is returned, naming `target`.
    """
    return _delivered(_send(consumer, event, target, message_id))


def _send(
    consumer: "PubsubConsumer", event: DirectMessageSent, target: str, message_id: str | None
) -> "asyncio.Future[Data]":
    tell = partial(_told_of_direct, target)
    return _hand_over(consumer, event, event.recipient_id, message_id, tell)


Tell = Callable[[Receipt, Reached], Data]


def _hand_over(
    consumer: "PubsubConsumer",
    event: Message,
    recipient_id: UUID | None,
    message_id: str | None,
    tell: Tell,
) -> "asyncio.Future[Data]":
    publisher, census = _services(consumer)
    key = key_of(consumer, message_id)
    reached = census.expect(event)
    try:
        receipt = publisher.publish(event, key=key, recipient=recipient_id)
    except Unavailable:
        census.forget(event)
        raise
    work = _concluded(publisher, census, event, key, receipt, reached, tell)
    answer = asyncio.ensure_future(work)
    consumer.said.put(message_id, answer)
    return answer


async def _concluded(
    publisher: Publisher,
    census: Census,
    event: Message,
    key: str | None,
    receipt: Awaitable[Receipt],
    reached: "asyncio.Future[Reached]",
    tell: Tell,
) -> Data:
    """Wait for COMMIT and for the count, and return the answer."""
    try:
        taken = await receipt
        if taken.is_repeat:
            assert key is not None
            return await _first_answer(key, taken, event, tell)
        data = tell(taken, await _in_time(reached))
    finally:
        census.forget(event)
    if key is not None:
        publisher.keep_answer(key, data)
    return data


async def _in_time(reached: "asyncio.Future[Reached]") -> Reached:
    if reached.done():
        return reached.result()
    try:
        async with asyncio.timeout(DELIVERY_SECONDS):
            return await reached
    except TimeoutError:
        return Reached(is_partial=True)


async def _first_answer(key: str, receipt: Receipt, event: Message, tell: Tell) -> Data:
    """Return what the first of the same messages was told.

    Where that is lost, since its process died, the place is known and the count is not.
    """
    answer = receipt.answer
    for _ in range(ASKED_AGAIN):
        if answer is not None:
            return answer
        await asyncio.sleep(ASKED_AGAIN_SECONDS)
        answer = await call(answer_of, key)
    if isinstance(event, DirectMessageSent):
        is_kept = await call(is_waiting, event.recipient_id, receipt.event_id)
        receipt = msgspec.structs.replace(receipt, is_kept=is_kept, is_repeat=not is_kept)
    return tell(receipt, Reached(is_partial=True))


def _told_of_broadcast(receipt: Receipt, reached: Reached) -> Data:
    data: Data = {
        "status": "delivered",
        "recipients": reached.sessions,
        "position": receipt.position,
    }
    return {**data, "partial": True} if reached.is_partial else data


def _told_of_direct(target: str, receipt: Receipt, reached: Reached) -> Data:
    if not reached.connections and not receipt.is_repeat:
        return {"target_user": target, "queued": receipt.is_kept}
    data: Data = {
        "status": "delivered",
        "delivered_to": reached.connections,
        "position": receipt.position,
    }
    return {**data, "partial": True} if reached.is_partial else data


async def _delivered(answer: "asyncio.Future[Data]") -> Data:
    """Wait for the answer and return it. Raises Undelivered where that is what it says."""
    await asyncio.wait([answer])
    return _result_of(answer)


def _result_of(answer: "asyncio.Future[Data]") -> Data:
    data = answer.result()
    if "queued" in data:
        raise Undelivered(data["target_user"], queued=data["queued"])
    return data


def key_of(consumer: "PubsubConsumer", message_id: str | None) -> str | None:
    """Return what the same message of the same client has in common; None where none can."""
    if consumer.client_id is None or message_id is None:
        return None
    user_id = consumer.member.session.principal.user_id
    return sha256(f"{user_id}\0{consumer.client_id}\0{message_id}".encode()).hexdigest()


def _services(consumer: "PubsubConsumer") -> tuple[Publisher, Census]:
    publisher, census = consumer.backing.publisher, consumer.backing.census
    if publisher is None or census is None:
        raise Unavailable("nothing can be published here")
    return publisher, census


# --- Answers ---------------------------------------------------------------------------------


async def repeat(consumer: "PubsubConsumer", message_id: str | None) -> bool:
    """Answer again what this connection has said before; tell whether it has.

    Waits while too many messages are unanswered: then the connection is not read.
    """
    await consumer.answers.until_room()
    before = consumer.said.get(message_id)
    if before is None:
        return False
    answer_later(consumer, before, message_id)
    return True


def answer_later(
    consumer: "PubsubConsumer", answer: "asyncio.Future[Data]", message_id: str | None
) -> None:
    """Answer when the answer is known, behind what was asked before; nothing without an id."""
    consumer.answers.follow(answer, partial(_worded, consumer, message_id))


def _worded(
    consumer: "PubsubConsumer", message_id: str | None, answer: "asyncio.Future[Data]"
) -> bytes | None:
    try:
        data = dict(_result_of(answer))
    except Failure as refusal:
        return consumer.refusal(refusal, message_id)
    except Exception:
        logger.exception("a message could not be published")
        return consumer.refusal(None, message_id)
    return None if message_id is None else schema.ack(message_id, data.pop("status"), **data)
