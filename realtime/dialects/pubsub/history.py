"""`History`: what was said on a topic, as the journal has it."""

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from django.db import Error as DatabaseProblem

from realtime import journal
from realtime.calls import call
from realtime.core.errors import BadTopic, Invalid, Unavailable
from realtime.core.events import Event
from realtime.core.filters import Scope
from realtime.core.position import Position
from realtime.core.topics import check_topic
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import History, Incoming, PubsubDialect, moment_of
from realtime.dialects.pubsub.subscriptions import named, resolve

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

# An answer holds no more of what was said than this, and one message.
ANSWER_BYTES = 256 * 1024
# Where a role hears only its own of a topic, so many of others' are looked through.
SEARCHED_MAX = 10_000

# Binary messages are text in here, whatever the connection speaks.
TEXT = PubsubDialect()


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for messages of `topic` between two positions, both excluded.

    From `after` on the earliest, without it the latest; those that `scope` admits.
    """

    topic: str
    scope: Scope
    after: int | None
    before: int | None
    limit: int


class Found(msgspec.Struct):
    """Events with their positions, in order. `next_n` is where to go on, None at the end."""

    events: list[tuple[int, Event]]
    next_n: int | None


async def on_history(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Answer with what the client may hear of a topic. Raises Failure.

    Of live topics nothing is kept, so there is nothing to tell.
    """
    wanted = schema.parse_data(message.data, History)
    hub, principal = consumer.hub, consumer.member.session.principal
    topic = resolve(wanted.topic, principal)
    try:
        check_topic(topic)
    except BadTopic as problem:
        raise BadTopic(str(problem), field="data.topic") from None
    scope = principal.scope.narrowed(topic)
    if scope.is_empty:
        details = {"topic": wanted.topic, **named(message)}
        text = f"your role may not hear {wanted.topic}"
        consumer.answer(schema.error(403, text, details))
        return
    try:
        search = Search(
            topic=topic,
            scope=scope,
            after=await _bound(consumer, wanted.after, "data.after"),
            before=await _bound(consumer, wanted.before, "data.before", past=1),
            limit=wanted.limit,
        )
        found, oldest = await call(find, search, hub.now())
    except DatabaseProblem as problem:
        raise Unavailable("the journal cannot be read now: try again later") from problem
    frames = [hub.render(TEXT, event, n) for n, event in found.events]
    is_whole = search.after is None or search.after >= oldest
    more = {} if found.next_n is None else {"next": str(Position(hub.epoch, found.next_n))}
    answer = schema.history(
        wanted.topic,
        [frame.payload for frame in frames if frame is not None],
        complete=found.next_n is None and is_whole,
        **more,
        **named(message),
    )
    consumer.answer(answer)
    if message.id is not None:
        consumer.answer(schema.ack(message.id, "history"))


def find(search: Search, now: datetime) -> tuple[Found, int]:
    """Return what there is, and after which position the journal has everything."""
    return _find(search, now), journal.oldest()


async def _bound(
    consumer: "PubsubConsumer", given: str | float | None, field: str, *, past: int = 0
) -> int | None:
    """Return the position that a client means: it may give a time instead."""
    if given is None:
        return None
    if not isinstance(given, str):
        # The events of that time and later come after this position.
        return await call(journal.first_since, moment_of(given, field)) + past
    try:
        position = Position.parse(given)
    except Invalid as problem:
        raise Invalid(str(problem), field=field) from None
    if position.epoch != consumer.hub.epoch:
        raise Invalid("this position is of a journal that was restored since", field=field)
    return position.n


def _find(search: Search, now: datetime) -> Found:
    after, before = search.after, search.before
    found: list[tuple[int, Event]] = []
    size = searched = 0
    while searched < SEARCHED_MAX:
        entries = journal.read_topic(
            search.topic,
            after=after,
            before=before,
            limit=search.limit - len(found) + 1,
            now=now,
        )
        if not entries:
            return Found(_in_order(search, found), None)
        for entry in entries:
            event = _admitted(entry, search.scope)
            if event is not None:
                if len(found) == search.limit or size >= ANSWER_BYTES:
                    return Found(_in_order(search, found), found[-1][0])
                found.append((entry.n, event))
                size += len(entry.payload)
        searched += len(entries)
        if search.after is None:
            before = entries[-1].n
        else:
            after = entries[-1].n
    return Found(_in_order(search, found), before if search.after is None else after)


def _admitted(entry: journal.Numbered, scope: Scope) -> Event | None:
    try:
        event = entry.event
    except msgspec.DecodeError:
        return None  # A newer build wrote it.
    return event if scope.admits(event) else None


def _in_order(search: Search, found: list[tuple[int, Event]]) -> list[tuple[int, Event]]:
    return found[::-1] if search.after is None else found
