"""What these pages have in common."""

from django.db.models import BooleanField, Case, Q, QuerySet, Value, When
from django.http import HttpRequest

from devices.admin.base import HistoryAdmin
from realtime.core.events import USERS
from realtime.models import JournalEntry


class ReadOnlyAdmin(HistoryAdmin):
    """Rows that the system writes and people read."""


def with_rights(request: HttpRequest, entries: QuerySet[JournalEntry]) -> QuerySet[JournalEntry]:
    """Add `is_readable` to each entry: whether this person may read what it says.

    Who may see the history may read it, but for what was said to one user: direct messages
    and notifications on `users.<id>` need the permission to read what is private, which
    administrators have. Everybody else sees that something was said, when and to whom.
    """
    is_private = Q(topic__startswith=f"{USERS}.")
    may_read_private = Value(request.user.has_perm("realtime.read_private"))
    return entries.annotate(
        is_readable=Case(
            When(is_private, then=may_read_private),
            default=Value(True),
            output_field=BooleanField(),
        )
    )
