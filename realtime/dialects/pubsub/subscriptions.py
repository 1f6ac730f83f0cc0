"""What a client hears: `Subscribe`, from now on or from a position, and `Unsubscribe`."""

import contextlib
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import Error as DatabaseProblem

from realtime.core.errors import BadTopic, Forbidden, Invalid, Unavailable
from realtime.core.events import USERS, private_topic
from realtime.core.position import Position
from realtime.core.session import Principal
from realtime.core.topics import check_pattern
from realtime.dialects.pubsub import presence, schema
from realtime.dialects.pubsub.schema import Incoming, Topics
from realtime.hub import Member

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

logger = logging.getLogger("vitalwire.pubsub")

SUBSCRIPTIONS_MAX = 256

OTHER_EPOCH = "the journal was restored since: this position is of another one"
NEVER_GIVEN = "nobody was given this position yet"
NOT_KEPT = "the journal does not reach back so far any more"


class TooManySubscriptions(Invalid):
    """Raised when a connection would hear more patterns than it may."""

    def __init__(self, *, used: int) -> None:
        text = f"at most {SUBSCRIPTIONS_MAX} subscriptions a connection"
        super().__init__(text, field="data.topics")
        self.details = {"limit": SUBSCRIPTIONS_MAX, "used": used}


async def on_subscribe(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Let the client hear each topic that it may; the others are refused one by one.

    With `recover` everything since that position comes after the answer, and then what happens.
    """
    wanted = schema.parse_data(message.data, Topics)
    principal = consumer.member.session.principal
    meant = [resolve(name, principal) for name in wanted.topics]
    # First: too many are not looked at one by one.
    _check_room(consumer, meant)
    patterns = _patterns(meant, wanted.topics)
    since = None if wanted.recover is None else _since(wanted.recover.position)
    if wanted.binary:
        _speak_binary(consumer)
    if since is None:
        heard = _subscribe(consumer, patterns, message)
        position = consumer.hub.position_of(consumer.member)
        _confirm(consumer, "subscribed", heard, message.id, position=str(position))
    else:
        heard = await _recover(consumer, patterns, message, since)
    await presence.show_present(consumer, list(heard))


async def on_unsubscribe(consumer: "PubsubConsumer", message: Incoming) -> None:
    """End each subscription that there is. The private topic is heard all the same."""
    wanted = schema.parse_data(message.data, Topics).topics
    member = consumer.member
    principal = member.session.principal
    ended = {}
    for name in wanted:
        pattern = resolve(name, principal)
        if member.asked.pop(pattern, None) is None:
            continue
        ended[pattern] = name
        if pattern != own_topic(member):
            consumer.hub.unsubscribe(member, pattern)
    _confirm(consumer, "unsubscribed", ended, message.id)


def active(member: Member) -> int:
    """Return how many subscriptions the client has asked for."""
    return len(member.asked)


def own_topic(member: Member) -> str:
    """Return the private topic, which every session hears without asking."""
    return private_topic(member.session.principal.user_id)


def resolve(name: str, principal: Principal) -> str:
    """Return the topic that a client means: its own private one it may call by its username."""
    if name == f"{USERS}.{principal.username}":
        return private_topic(principal.user_id)
    return name


def _patterns(meant: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return each pattern once, with the client's name for it. Raises BadTopic, saying which."""
    patterns = {}
    for place, (pattern, name) in enumerate(zip(meant, names, strict=True)):
        try:
            patterns[check_pattern(pattern)] = name
        except BadTopic as problem:
            raise BadTopic(str(problem), field=f"data.topics[{place}]") from None
    return patterns


def named(message: Incoming) -> dict[str, Any]:
    """Return the detail that says which message is answered, if the client has named it."""
    return {} if message.id is None else {"message_id": message.id}


# --- Subscribing ---------------------------------------------------------------------------


def _check_room(consumer: "PubsubConsumer", patterns: Iterable[str]) -> None:
    """Raise TooManySubscriptions when there is no room for these."""
    asked = consumer.member.asked
    if len(asked) + len({each for each in patterns if each not in asked}) > SUBSCRIPTIONS_MAX:
        raise TooManySubscriptions(used=len(asked))


def _subscribe(
    consumer: "PubsubConsumer", patterns: dict[str, str], message: Incoming, *, held: bool = False
) -> dict[str, str]:
    """Subscribe to what may be heard and return that; say of each other one that it may not."""
    heard = {}
    for pattern, name in patterns.items():
        try:
            consumer.hub.subscribe(consumer.member, pattern, held=held)
        except Forbidden:
            details = {"topic": name, **named(message)}
            text = f"your role may not subscribe to {name}"
            consumer.answer(schema.error(403, text, details))
        else:
            heard[pattern] = consumer.member.asked[pattern] = name
    return heard


def _speak_binary(consumer: "PubsubConsumer") -> None:
    """From now on binary messages are binary frames on this connection."""
    dialect = consumer.backing.binary_dialect
    if dialect is not None and consumer.member.dialect is not dialect:
        consumer.hub.speak(consumer.member, dialect)


# --- Recovering ----------------------------------------------------------------------------


def _since(text: str) -> Position:
    try:
        return Position.parse(text)
    except Invalid as problem:
        raise Invalid(str(problem), field="data.recover.position") from None


async def _recover(
    consumer: "PubsubConsumer", patterns: dict[str, str], message: Incoming, since: Position
) -> dict[str, str]:
    hub, member = consumer.hub, consumer.member
    new = patterns.keys() - member.cohorts.keys()
    asked = dict(member.asked)
    # Held before we look: what happens meanwhile comes behind what is recovered.
    heard = _subscribe(consumer, patterns, message, held=True)
    try:
        start = await hub.find_start(since)
        details = await _found(consumer, since, start)
    except DatabaseProblem as problem:
        for pattern in new:
            hub.unsubscribe(member, pattern)
        member.asked = asked
        with contextlib.suppress(DatabaseProblem):
            await hub.replay_from(member, heard, None)
        raise Unavailable("the journal cannot be read now: try again later") from problem
    _confirm(consumer, "subscribed", heard, message.id, **details)
    try:
        await hub.replay_from(member, heard, start)
    except DatabaseProblem as problem:
        # It stays behind, and is caught up when the database answers again.
        logger.warning("a recovery is put off: %s", type(problem).__name__)
    return heard


async def _found(consumer: "PubsubConsumer", since: Position, start: int | None) -> dict[str, Any]:
    """Return what the client is told of its position: everything after `position` follows."""
    hub = consumer.hub
    position = hub.position_of(consumer.member)
    if start is not None:
        position = Position(hub.epoch, min(position.n, start))
    if start == since.n:
        return {"position": str(position), "recovered": True}
    oldest = await hub.find_oldest() if start is None else Position(hub.epoch, start)
    reason = NOT_KEPT
    if since.epoch != hub.epoch:
        reason = OTHER_EPOCH
    elif since.n > hub.position:
        reason = NEVER_GIVEN
    return {
        "position": str(position),
        "recovered": False,
        "recoverable_from": str(oldest),
        "reason": reason,
    }


# --- Answers -------------------------------------------------------------------------------


def _confirm(
    consumer: "PubsubConsumer",
    name: str,
    patterns: dict[str, str],
    message_id: str | None,
    **more: Any,
) -> None:
    details = {
        "topics": list(patterns.values()),
        "active_subscriptions": active(consumer.member),
        **more,
    }
    consumer.answer(schema.status(name, details))
    if message_id is not None:
        consumer.answer(schema.ack(message_id, name))
