"""Ending connections, wherever they are: from the admin, a command or a shell.

The control event reaches every process through the journal.
"""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from django.db import transaction

from realtime import journal
from realtime.core.events import ConnectionEnded


@transaction.atomic
def end_connection(connection_id: str, *, by: str) -> None:
    """Have one connection closed with 1008. `by` is the account that wants it."""
    journal.append(_ended(by, connection_id=connection_id))


@transaction.atomic
def end_connections_of(user_id: UUID, *, by: str) -> None:
    """Have all of a user's connections closed with 1008. They may connect again."""
    journal.append(_ended(by, user_id=user_id))


def _ended(
    by: str, *, connection_id: str | None = None, user_id: UUID | None = None
) -> ConnectionEnded:
    return ConnectionEnded(
        id=str(uuid4()),
        at=datetime.now(UTC),
        connection_id=connection_id,
        user_id=user_id,
        by=by,
    )
