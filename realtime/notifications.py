"""The system tells people something: one user, the users of a role, or everybody."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, get_args
from urllib.parse import urlsplit
from uuid import uuid4

from django.db import transaction

from accounts.models import Role, User
from realtime import journal, mailbox
from realtime.core.errors import Invalid
from realtime.core.events import Action, Notified
from realtime.core.events.messages import Level

logger = logging.getLogger("vitalwire.notifications")

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
TITLE_CHARACTERS: Final = 200
MESSAGE_CHARACTERS: Final = 4_000
ACTIONS_MAX: Final = 5
LABEL_CHARACTERS: Final = 60
URL_CHARACTERS: Final = 2_000


def notify(
    level: Level,
    title: str,
    message: str,
    actions: Sequence[Action] = (),
    *,
    user: User | None = None,
    role: Role | None = None,
    by: str,
) -> Notified:
    """Tell a user, the users of a role, or everybody; return what is told.

    Sessions hear it that are subscribed to `notifications`; a user always does, and if they
    are away it is kept for them. `by` is the account that wants it. Raises Invalid.
    """
    if user is not None and role is not None:
        raise Invalid("a notification is for a user or for a role", field="role")
    event = Notified(
        id=str(uuid4()),
        at=datetime.now(UTC),
        level=_level(level),
        title=_text(title, TITLE_CHARACTERS, field="title"),
        message=_text(message, MESSAGE_CHARACTERS, field="message"),
        actions=check_actions(actions),
        recipient_id=user.pk if user else None,
        recipient=user.username if user else None,
        role=role.name if role else None,
        by=by,
    )
    with transaction.atomic():
        journal.append(event)
        if user is not None:
            mailbox.keep(event, user.pk)
    logger.info("notified: level=%s to=%s by=%s", event.level, audience_of(event), by)
    return event


def audience_of(event: Notified) -> str:
    """Return whom it is for, in words."""
    if event.recipient_id is not None:
        return f"user {event.recipient or event.recipient_id}"
    return f"role {event.role}" if event.role is not None else "everybody"


def check_actions(actions: Sequence[Action]) -> tuple[Action, ...]:
    """Return the actions when each has a label and a place to go. Raises Invalid."""
    if len(actions) > ACTIONS_MAX:
        raise Invalid(f"a notification offers at most {ACTIONS_MAX} actions", field="actions")
    for action in actions:
        _text(action.label, LABEL_CHARACTERS, field="actions")
        # A client makes a link of it: no script, no other scheme.
        if len(action.url) > URL_CHARACTERS or not _is_link(action.url):
            raise Invalid("an action's url is http(s):// or begins with /", field="actions")
    return tuple(actions)


def _is_link(url: str) -> bool:
    if not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _level(level: Level) -> Level:
    if level not in LEVELS:
        raise Invalid(f"the level is one of {', '.join(LEVELS)}", field="level")
    return level


def _text(text: str, most: int, *, field: str) -> str:
    if not text.strip() or len(text) > most:
        raise Invalid(f"{field}: 1 to {most} characters", field=field)
    return text
