"""What of this process stands behind every connection of the dialect."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from accounts.access import find_recipient
from realtime.calls import call
from realtime.census import Census
from realtime.core.events import Event
from realtime.hub import Dialect
from realtime.mailbox import Mailbox
from realtime.presence import Presence
from realtime.publisher import Publisher


def _tell_nobody(event: Event) -> None:
    """Stands in where nothing is connected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backing:
    """Shared by all consumers of the dialect in this process.

    Without a publisher nobody can say anything, without a mailbox nothing waits for anybody.
    """

    publisher: Publisher | None = None
    census: Census | None = None
    mailbox: Mailbox | None = None
    # Whom a direct message is for, by id or name; None for somebody who can get none.
    find_recipient: Callable[[str], Awaitable[UUID | None]] = lambda target: call(
        find_recipient, target
    )
    # What is spoken to whoever subscribes with `binary: true`.
    binary_dialect: Dialect | None = None
    presence: Presence = field(default_factory=Presence)
    # Delivers an event to whoever hears it now, in every process.
    publish_live: Callable[[Event], None] = _tell_nobody
