"""The journal and the processes, for looking at: history is not edited."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from realtime.models import JournalEntry, Node


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the system writes and people read."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadOnlyAdmin):
    list_display = ("position", "kind", "topic", "created_at")
    list_filter = ("kind",)
    search_fields = ("topic", "event_id")
    date_hierarchy = "created_at"
    fields = ("position", "event_id", "kind", "topic", "created_at", "content")
    readonly_fields = ("content",)

    @admin.display(description="content")
    def content(self, entry: JournalEntry) -> str:
        return bytes(entry.payload).decode("utf-8", "replace")


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin):
    list_display = ("host", "pid", "started_at", "heartbeat_at", "connections")
