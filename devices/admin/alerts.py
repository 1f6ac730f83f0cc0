"""Alert rules are edited here; alerts are looked at, acknowledged and resolved."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import display

from devices.admin.base import EachMixin, HistoryAdmin, TellingAdmin
from devices.admin.links import link_to
from devices.admin.previews import PreviewMixin
from devices.admin.transfer import RuleResource, TransferMixin
from devices.models import Alert, AlertRule
from devices.models.alert import Severity
from devices.services.alerts import acknowledge_alert, resolve_alert

SEVERITY_COLOURS = {
    Severity.CRITICAL: "danger",
    Severity.WARNING: "warning",
    Severity.INFO: "info",
}
STATUS_COLOURS = {
    Alert.Status.ACTIVE: "danger",
    Alert.Status.ACKNOWLEDGED: "warning",
    Alert.Status.RESOLVED: "success",
}


@admin.register(AlertRule)
class AlertRuleAdmin(PreviewMixin, TransferMixin, TellingAdmin):
    resource_classes = (RuleResource,)

    list_display = (
        "name",
        "target",
        "metric",
        "condition",
        "threshold",
        "severity_label",
        "is_active",
    )
    list_filter = ("is_active", "severity", "condition")
    list_select_related = ("device",)
    search_fields = ("name", "metric", "device__name", "device__external_id", "device_type")
    autocomplete_fields = ("device",)
    fieldsets = (
        (None, {"fields": ("name", "description", "severity", "is_active")}),
        ("Applies to", {"fields": ("device", "device_type")}),
        (
            "Condition",
            {"fields": ("metric", "condition", "threshold", "clear_threshold")},
        ),
        (
            "Time",
            {
                "fields": (
                    "raise_after_seconds",
                    "clear_after_seconds",
                    "cooldown_seconds",
                    "resolves_itself",
                )
            },
        ),
        ("Record", {"fields": ("created_at", "updated_at", "alerts")}),
    )
    readonly_fields = ("created_at", "updated_at", "alerts")

    @admin.display(description="applies to")
    def target(self, rule: AlertRule) -> str:
        if rule.device is not None:
            return str(rule.device)
        return f"every {rule.device_type}" if rule.device_type else "every device"

    @display(description="severity", ordering="severity", label=SEVERITY_COLOURS)
    def severity_label(self, rule: AlertRule) -> tuple[str, str]:
        return rule.severity, rule.get_severity_display()

    @admin.display(description="alerts")
    def alerts(self, rule: AlertRule) -> str:
        return link_to("that it raised", "alert", rule__id__exact=rule.pk)


@admin.register(Alert)
class AlertAdmin(EachMixin, HistoryAdmin):
    list_display = (
        "title",
        "device",
        "severity_label",
        "status_label",
        "actual_value",
        "created_at",
    )
    list_filter = ("status", "severity", "alert_type")
    list_select_related = ("device",)
    search_fields = ("title", "device__name", "device__external_id")
    date_hierarchy = "created_at"
    actions = ("acknowledge", "resolve")
    fieldsets = (
        (None, {"fields": ("title", "message", "severity", "alert_type", "status")}),
        (
            "Cause",
            {"fields": ("device", "rule", "metric", "threshold_value", "actual_value")},
        ),
        (
            "Course",
            {
                "fields": (
                    "created_at",
                    "acknowledged_at",
                    "acknowledged_by",
                    "resolved_at",
                    "resolved_by",
                    "note",
                )
            },
        ),
    )

    @display(description="severity", ordering="severity", label=SEVERITY_COLOURS)
    def severity_label(self, alert: Alert) -> tuple[str, str]:
        return alert.severity, alert.get_severity_display()

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def status_label(self, alert: Alert) -> tuple[str, str]:
        return alert.status, alert.get_status_display()

    @admin.action(description="Acknowledge", permissions=["manage"])
    def acknowledge(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        def acknowledge_one(alert: Alert) -> str:
            acknowledge_alert(alert.pk, by=request.user, now=timezone.now())
            return "acknowledged"

        self.each(request, alerts, acknowledge_one)

    @admin.action(description="Resolve", permissions=["manage"])
    def resolve(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        def resolve_one(alert: Alert) -> str:
            resolve_alert(alert.pk, by=request.user, now=timezone.now())
            return "resolved"

        self.each(request, alerts, resolve_one)
