"""What was told, by topic: the journal, for reading, and how long it stays."""

import re
from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

import msgspec
from django.conf import settings
from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter
from unfold.utils import parse_datetime_str

from accounts.models import User
from realtime.admin.base import ReadOnlyAdmin, with_rights
from realtime.core.errors import BadTopic
from realtime.core.events import USERS, AnyEvent
from realtime.core.topics import ONE, REST, check_pattern
from realtime.models import JournalEntry

KINDS = sorted(kind.__name__ for kind in get_args(AnyEvent) if kind.durable)
HIDDEN = "What is said to one user is read by those who have the permission for it."


class KindFilter(DropdownFilter):
    """The kinds there are: asking the table for them would read all of it."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(kind, kind) for kind in KINDS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class TimeFilter(RangeDateTimeFilter):
    """From and to, in the time zone of the pages; a day alone is the whole day."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        name = self.parameter_name
        for end, lookup, whole_day in (("from", "gte", "00:00:00"), ("to", "lte", "23:59:59")):
            day = self.used_parameters.get(f"{name}_{end}_0")
            time = self.used_parameters.get(f"{name}_{end}_1") or whole_day
            moment = parse_datetime_str(f"{day} {time}") if day else None
            if moment is not None:
                queryset = queryset.filter(**{f"{name}__{lookup}": timezone.make_aware(moment)})
        return queryset


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadOnlyAdmin):
    """Newest first. A search is a topic, a pattern, an event's id or a position."""

    list_display = ("position", "kind", "topic", "created_at", "size")
    list_filter = (KindFilter, ("created_at", TimeFilter))
    list_filter_submit = True
    list_before_template = "admin/realtime/retention.html"
    # What is searched for is read by `get_search_results`.
    search_fields = ("topic",)
    search_help_text = "Topic, pattern, users.<name> or id"
    fields = ("position", "event_id", "kind", "topic", "created_at", "content")
    readonly_fields = ("content",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[JournalEntry]:
        return with_rights(request, super().get_queryset(request))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"retention": retention(), **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JournalEntry], search_term: str
    ) -> tuple[QuerySet[JournalEntry], bool]:
        return (queryset.filter(found_by(search_term)) if search_term else queryset), False

    @admin.display(description="content")
    def content(self, entry: Any) -> str:
        if not entry.is_readable:
            return HIDDEN
        return format_html('<pre class="whitespace-pre-wrap break-all">{}</pre>', readable(entry))

    @admin.display(description="bytes")
    def size(self, entry: JournalEntry) -> int:
        return len(entry.payload)


def readable(entry: Any) -> str:
    """Return `entry.payload`, an event, as indented JSON, or as it is when it is none."""
    payload = bytes(entry.payload)
    try:
        return msgspec.json.format(payload, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return payload.decode("utf-8", "replace")


def found_by(term: str) -> Q:
    """Return which entries a search means: a topic, a pattern, an event's id, a position."""
    term = term.strip()
    if term.isdecimal() and len(term) < 19:
        return Q(position=int(term))
    try:
        pattern = check_pattern(_with_id(term))
    except BadTopic:
        return Q(event_id=term)
    if ONE not in pattern:
        return Q(topic=pattern) | Q(event_id=term)
    stem = pattern.partition(f".{ONE}")[0]
    if pattern == f"{stem}.{REST}":
        return Q(topic=stem) | Q(topic__startswith=f"{stem}.")
    return Q(topic__startswith=f"{stem}.", topic__regex=_expression(pattern))


def _with_id(term: str) -> str:
    """Return `users.<id>` for `users.<name>`: names are what people know."""
    root, _, name = term.partition(".")
    if root != USERS or ONE in name:
        return term
    try:
        UUID(name)
    except ValueError:
        user_id = User.objects.filter(username=name).values_list("pk", flat=True).first()
        return term if user_id is None else f"{USERS}.{user_id}"
    return term


def _expression(pattern: str) -> str:
    segments = pattern.split(".")
    ending = ""
    if segments[-1] == REST:
        segments.pop()
        ending = r"(\..+)?"
    parts = ("[^.]+" if segment == ONE else re.escape(segment) for segment in segments)
    return "^" + r"\.".join(parts) + ending + "$"


def retention() -> str:
    """Return how long what is told stays, in a sentence."""
    oldest = JournalEntry.objects.filter(position__isnull=False).order_by("position").first()
    days = settings.JOURNAL_DAYS
    kept = f"Kept for {days} day{'' if days == 1 else 's'} (VITALWIRE_JOURNAL_DAYS)"
    if oldest is None:
        return f"{kept}; there is nothing yet."
    return f"{kept}; the oldest entry is of {oldest.created_at:%Y-%m-%d %H:%M} UTC."
