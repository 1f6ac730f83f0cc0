"""What every session hears without asking: its user's private topic, and what waited there."""

import asyncio
from typing import TYPE_CHECKING

from realtime.core.position import Position
from realtime.dialects.pubsub.subscriptions import own_topic
from realtime.mailbox import Mailbox

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

# A new connection is read after so long although its mail could not be: it comes later then.
MAIL_SECONDS = 1.0
BLOCKED_SECONDS = 0.05


async def open_mailbox(consumer: "PubsubConsumer") -> None:
    """Let the session hear its private topic, and first tell it what has waited for its user.

    What has a position up to here is told in order, what comes after that is heard live.
    """
    hub, member, mailbox = consumer.hub, consumer.member, consumer.backing.mailbox
    topic = own_topic(member)
    if mailbox is None:
        hub.subscribe(member, topic)
        return
    hub.subscribe(member, topic, held=True)
    here = Position(hub.epoch, hub.position)
    telling = asyncio.ensure_future(_tell_then_go_on(consumer, mailbox, here))
    await asyncio.wait([telling], timeout=MAIL_SECONDS)
    if telling.done():
        telling.result()


async def _tell_then_go_on(consumer: "PubsubConsumer", mailbox: Mailbox, here: Position) -> None:
    hub, member = consumer.hub, consumer.member
    try:
        async with mailbox.turn_of(member.session.principal.user_id):
            await _tell(consumer, mailbox, here)
    finally:
        await hub.replay(member, own_topic(member), here)


async def _tell(consumer: "PubsubConsumer", mailbox: Mailbox, here: Position) -> None:
    hub, member = consumer.hub, consumer.member
    user_id, after = member.session.principal.user_id, 0
    while letters := await mailbox.waiting(user_id, after, here.n):
        for letter in letters:
            if not await _reads(consumer):
                return
            frame = hub.render(member.dialect, letter.event, letter.n)
            if frame is not None:
                member.send(frame)
                mailbox.on_told(letter.event)
        if hub.epoch == here.epoch:
            # Whoever recovers its private topic has had these.
            member.mail |= {letter.n for letter in letters}
        after = letters[-1].n


async def _reads(consumer: "PubsubConsumer") -> bool:
    """Wait while the peer does not read; tell whether it is still there."""
    hub, member = consumer.hub, consumer.member
    # Looked at, not waited for: not every server says when a blocked peer is gone.
    while member.transport.is_blocked and member.transport.is_open:  # noqa: ASYNC110
        await asyncio.sleep(BLOCKED_SECONDS)
    return member.transport.is_open and member.session.id in hub.members
