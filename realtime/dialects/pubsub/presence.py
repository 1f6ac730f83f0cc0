"""Presence: what a client says of its user, and who is shown to a new subscriber."""

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from realtime.calls import call
from realtime.core.errors import Invalid
from realtime.core.events import PresenceChanged
from realtime.core.presence import check_metadata, read_metadata
from realtime.core.topics import ONE, root_of
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import Incoming
from realtime.presence.rows import find_offline

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

ROOT = "presence"
EVERYBODY = f"{ROOT}.{ONE}"
# Who asks for everybody is shown so many; of the others it hears when they change.
SHOWN_MAX = 500
# Everybody is shown to one connection so often at most; who asks sooner is made to wait.
SHOWN_APART_SECONDS = 1.0


def on_open(consumer: "PubsubConsumer") -> None:
    """Note the metadata that the query gives; tell when it is none."""
    for value in filter(None, consumer.told_metadata):
        try:
            given = read_metadata(value, field="metadata")
        except Invalid as refusal:
            details = {"field": refusal.field}
            consumer.answer(schema.error(400, str(refusal), details))
            return
        consumer.backing.presence.say(consumer.member.session, None, given)


async def on_presence(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Take what the client says of its user; without `metadata` that stays as it is."""
    given = schema.parse_data(message.data, schema.Presence)
    if given.metadata is not None:
        check_metadata(given.metadata, field="data.metadata")
    consumer.backing.presence.say(consumer.member.session, given.status, given.metadata)
    if message.id is not None:
        consumer.answer(schema.ack(message.id, "updated"))


async def show_present(consumer: "PubsubConsumer", heard: Iterable[str]) -> None:
    """Show who is present on what was just subscribed to.

    Of a user named in a topic their absence is shown as well, since when.
    """
    patterns = [pattern for pattern in heard if root_of(pattern) == ROOT]
    if not patterns:
        return
    if any(ONE in pattern for pattern in patterns):
        await _show_everybody(consumer)
    else:
        await _show_named(consumer, patterns)


async def _show_everybody(consumer: "PubsubConsumer") -> None:
    wait = consumer.shown_present_at + SHOWN_APART_SECONDS - time.monotonic()
    if wait > 0:
        await asyncio.sleep(wait)
    consumer.shown_present_at = time.monotonic()
    present = consumer.backing.presence.roster.everybody()
    consumer.hub.show(consumer.member, present[-SHOWN_MAX:])
    if len(present) > SHOWN_MAX:
        consumer.answer(schema.not_shown(EVERYBODY, len(present) - SHOWN_MAX))


async def _show_named(consumer: "PubsubConsumer", topics: list[str]) -> None:
    """Nothing is shown that is older than what was already told on a topic meanwhile."""
    roster = consumer.backing.presence.roster
    absent = [topic for topic in topics if roster.of(topic) is None]
    present = [event for topic in topics if (event := roster.of(topic)) is not None]
    consumer.hub.show(consumer.member, present)
    if absent:
        gone = await call(find_offline, absent)
        consumer.hub.show(consumer.member, [each for each in gone if _is_absent(consumer, each)])


def _is_absent(consumer: "PubsubConsumer", event: PresenceChanged) -> bool:
    return consumer.backing.presence.roster.of(event.topic) is None
