"""The processes and who was refused, for looking at; whose messages are logged."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from realtime import messagelog
from realtime.admin.base import ReadOnlyAdmin
from realtime.models import ErrorReport, MessageWatch, Node, RefusedAttempt, UserPresence

WATCHED_FIRST = timedelta(hours=1)
WATCHED_MOST = timedelta(days=7)
PRESENCE_COLOURS = {"online": "success", "away": "warning", "offline": "info"}


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin):
    list_display = ("host", "pid", "started_at", "heartbeat_at", "connections", "statistics")


@admin.register(UserPresence)
class UserPresenceAdmin(ReadOnlyAdmin):
    """Who is present, over all processes."""

    list_display = ("username", "status_label", "last_seen", "changed_at", "metadata")
    list_filter = ("status",)
    search_fields = ("username",)

    @display(description="status", ordering="status", label=PRESENCE_COLOURS)
    def status_label(self, presence: UserPresence) -> tuple[str, str]:
        return presence.status, presence.get_status_display()


@admin.register(RefusedAttempt)
class RefusedAttemptAdmin(ReadOnlyAdmin):
    list_display = ("at", "reason", "endpoint", "address", "username", "detail")
    list_filter = ("reason", "endpoint", "at")
    search_fields = ("address", "username", "detail")
    date_hierarchy = "at"


@admin.register(ErrorReport)
class ErrorReportAdmin(ReadOnlyAdmin):
    list_display = ("at", "username", "address", "error")
    search_fields = ("username", "error")
    date_hierarchy = "at"


class MessageWatchForm(forms.ModelForm):
    """Whom to watch: a user or one connection, for a while."""

    class Meta:
        model = MessageWatch
        fields = ("user", "connection_id", "until")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if bool(given.get("user")) == bool(given.get("connection_id")):
            raise forms.ValidationError("Name a user or a connection, one of the two.")
        until = given.get("until")
        if until is not None and not timezone.now() < until <= timezone.now() + WATCHED_MOST:
            raise forms.ValidationError({"until": f"Within the next {WATCHED_MOST.days} days."})
        return given


@admin.register(MessageWatch)
class MessageWatchAdmin(ModelAdmin):
    """Switches the message log; every process hears of it within a second."""

    form = MessageWatchForm
    list_display = ("__str__", "until")
    autocomplete_fields = ("user",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"until": timezone.now() + WATCHED_FIRST}

    def save_model(
        self, request: HttpRequest, obj: MessageWatch, form: forms.ModelForm, change: bool
    ) -> None:
        messagelog.save_watch(obj)

    def delete_model(self, request: HttpRequest, obj: MessageWatch) -> None:
        messagelog.end_watches(MessageWatch.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[MessageWatch]) -> None:
        messagelog.end_watches(queryset)
