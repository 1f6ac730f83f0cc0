"""Commands: looked at here, sent from the list of devices."""

from django.contrib import admin
from unfold.decorators import display

from devices.admin.base import HistoryAdmin
from devices.models import Command

STATUS_COLOURS = {
    Command.Status.SENT: "info",
    Command.Status.EXECUTED: "success",
    Command.Status.FAILED: "danger",
    Command.Status.EXPIRED: "warning",
}


@admin.register(Command)
class CommandAdmin(HistoryAdmin):
    list_display = ("id", "device", "command", "status_label", "created_by", "created_at")
    list_filter = ("status",)
    list_select_related = ("device", "created_by")
    search_fields = ("command", "device__name", "device__external_id")
    fieldsets = (
        (None, {"fields": ("device", "command", "parameters", "status", "result")}),
        (
            "Course",
            {"fields": ("created_by", "created_at", "expires_at", "sent_at", "ended_at")},
        ),
    )

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def status_label(self, command: Command) -> tuple[str, str]:
        return command.status, command.get_status_display()
