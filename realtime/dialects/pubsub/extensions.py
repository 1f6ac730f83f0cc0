"""Types of the application's own (`X-…`) that the server itself answers: all of them here.

To add one, write its handler below and name its type:

    @answers("X-Square")
    async def square(caller: Caller, data: msgspec.Raw) -> dict[str, Any]:
        number = schema.parse_data(data, Number).number
        return {"square": number * number}

What it returns goes back to the sender, as a message of the same type. A Failure that it
raises becomes the `Error` that fits, and any other exception an `Error 500`, for this message
only. It must not compute for longer than some milliseconds.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from realtime.core.errors import Disconnect, Failure, NotFound, Unavailable
from realtime.core.session import Principal
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import Incoming

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

logger = logging.getLogger("vitalwire.extensions")

PREFIX = "X-"
# The connection's next message waits for it.
ANSWER_SECONDS = 10.0


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: the account, over which connection, hearing what."""

    principal: Principal
    connection_id: str
    subscriptions: tuple[str, ...] = ()


Answerer = Callable[[Caller, msgspec.Raw], Awaitable[dict[str, Any] | None]]

_answerers: dict[str, Answerer] = {}


def answers(type_: str) -> Callable[[Answerer], Answerer]:
    """Let the decorated coroutine answer messages of this type; None: only its `Ack`, if any."""
    if not type_.startswith(PREFIX):
        raise ValueError(f"{type_!r} does not begin with {PREFIX}: it cannot be an extension")
    if type_ in _answerers:
        raise ValueError(f"{type_} is answered already")

    def register(answerer: Answerer) -> Answerer:
        if not inspect.iscoroutinefunction(answerer):
            raise TypeError(f"{answerer.__qualname__} answers {type_}: it must be a coroutine")
        _answerers[type_] = answerer
        return answerer

    return register


async def on_extension(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Answer a message of an application's own type. Raises NotFound when nobody does."""
    answerer = _answerers.get(message.type)
    if answerer is None:
        raise NotFound(f"nothing answers {message.type} here: name a data.topic to have it relayed")
    session = consumer.member.session
    caller = Caller(
        principal=session.principal,
        connection_id=session.id,
        subscriptions=tuple(consumer.member.asked.values()),
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            data = await answerer(caller, message.data)
        answer = None if data is None else schema.extension(message.type, data, message.id)
    except (Failure, Disconnect):
        raise
    except TimeoutError as error:
        raise Unavailable(f"{message.type} took too long: try again later") from error
    except Exception as error:
        # Beside the funnel, which would end the connection for what somebody added here.
        logger.error("a fault of ours in answering %s", message.type, exc_info=error)
        details = {} if message.id is None else {"message_id": message.id}
        consumer.answer(schema.error(500, "internal error", details))
        return
    if answer is not None:
        consumer.answer(answer)
    if message.id is not None:
        consumer.answer(schema.ack(message.id, "answered"))


# --- Answered here ---------------------------------------------------------------------------


@answers("X-WhoAmI")
async def who_am_i(caller: Caller, data: msgspec.Raw) -> dict[str, Any]:
    """Tell a client as whom it is connected, what it may do, and until when."""
    principal = caller.principal
    return {
        "username": principal.username,
        "user_id": principal.user_id,
        "role": principal.role,
        "connection_id": caller.connection_id,
        "may_subscribe": principal.subscribe,
        "may_publish": principal.publish,
        "subscriptions": caller.subscriptions,
        "expires_at": schema.milliseconds(principal.expires_at),
    }
