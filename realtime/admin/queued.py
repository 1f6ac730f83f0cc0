"""What waits for users who are away: looked at and deleted, not changed."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.decorators import display

from realtime.admin.base import ReadOnlyAdmin
from realtime.admin.journal import HIDDEN, readable
from realtime.core.events import DirectMessageSent, Notified, decode
from realtime.models import JournalEntry, QueuedMessage

KIND_COLOURS = {"direct message": "info", "notification": "warning"}


@admin.register(QueuedMessage)
class QueuedMessageAdmin(ReadOnlyAdmin):
    """Everybody who may look sees from whom, to whom and how much, not what.

    What it says is read by those with the permission to read what is private, as in the
    history. Deleted, it is not told any more; it stays in the history until that is pruned.
    """

    list_display = ("user", "kind_label", "sender", "size", "created_at", "kept_until")
    list_select_related = ("user",)
    list_before_template = "admin/realtime/retention.html"
    search_fields = ("user__username", "event_id")
    search_help_text = "The user it is for, or an event's id"
    fields = ("user", "kind_label", "sender", "created_at", "kept_until", "content")
    readonly_fields = fields

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("realtime.delete_queuedmessage")

    def get_queryset(self, request: HttpRequest) -> QuerySet[QueuedMessage]:
        entry = JournalEntry.objects.filter(event_id=OuterRef("event_id")).values("payload")
        return super().get_queryset(request).annotate(payload=Subquery(entry[:1]))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        message: Any = super().get_object(request, object_id, from_field)
        if message is not None:
            message.is_readable = request.user.has_perm("realtime.read_private")
        return message

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"retention": retention(), **(extra_context or {})})

    # --- What is shown ----------------------------------------------------------------------

    @display(description="kind", label=KIND_COLOURS)
    def kind_label(self, message: Any) -> str:
        return "notification" if isinstance(_event(message), Notified) else "direct message"

    @admin.display(description="from")
    def sender(self, message: Any) -> str:
        event = _event(message)
        if isinstance(event, Notified):
            return event.by or "the system"
        return event.sender if isinstance(event, DirectMessageSent) else "unknown"

    @admin.display(description="bytes")
    def size(self, message: Any) -> int:
        return len(message.payload or b"")

    @admin.display(description="kept until")
    def kept_until(self, message: QueuedMessage) -> datetime:
        return message.created_at + timedelta(days=settings.QUEUED_DAYS)

    @admin.display(description="content")
    def content(self, message: Any) -> str:
        if not getattr(message, "is_readable", False):
            return HIDDEN
        if message.payload is None:
            return "The history does not hold it any more."
        return format_html('<pre class="whitespace-pre-wrap break-all">{}</pre>', readable(message))


def retention() -> str:
    """Return how long what is queued waits, in a sentence."""
    days, most = settings.QUEUED_DAYS, settings.QUEUED_PER_USER
    return (
        f"Kept for {days} day{'' if days == 1 else 's'} (VITALWIRE_QUEUED_DAYS), at most "
        f"{most:,} for each user (VITALWIRE_QUEUED_PER_USER); told when they connect."
    )


def _event(message: Any) -> DirectMessageSent | Notified | None:
    try:
        event = decode(bytes(message.payload or b""))
    except msgspec.DecodeError:
        return None
    return event if isinstance(event, DirectMessageSent | Notified) else None
