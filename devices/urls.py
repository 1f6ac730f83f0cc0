"""Paths below `/api/v1/`, each with and without a slash at its end.

A redirect to the other form would lose a POST's body: both are served. The first path that
matches wins, so words stand before numbers.
"""

from collections.abc import Iterator

from django.urls import URLPattern, path
from rest_framework.views import APIView

from devices.api import (
    alerts,
    commands,
    devices,
    exports,
    health,
    rules,
    surgeries,
    telemetry,
    tokens,
)

VIEWS: dict[str, tuple[type[APIView], str]] = {
    "surgeries": (surgeries.SurgeryList, "surgeries"),
    "surgeries/<str:surgery_id>": (surgeries.SurgeryDetail, "surgery"),
    "surgeries/<str:surgery_id>/trajectory": (surgeries.SurgeryTrajectory, "surgery-trajectory"),
    "surgeries/<str:surgery_id>/analysis": (surgeries.SurgeryAnalysis, "surgery-analysis"),
    "surgeries/<str:surgery_id>/metrics": (surgeries.SurgeryMetrics, "surgery-metrics"),
    "health": (health.HealthState, "health"),
    "health/ping": (health.HealthPing, "health-ping"),
    "devices": (devices.DeviceList, "devices"),
    "devices/stats": (devices.DeviceStatistics, "devices-stats"),
    "devices/status/<str:status>": (devices.DevicesWithStatus, "devices-by-status"),
    "devices/commands/<str:command_id>/status": (
        commands.DeviceCommandStatus,
        "device-command-status",
    ),
    "devices/<str:device_id>": (devices.DeviceDetail, "device"),
    "devices/<str:device_id>/status": (devices.DeviceStatus, "device-status"),
    "devices/<str:device_id>/token": (tokens.DeviceToken, "device-token"),
    "devices/<str:device_id>/commands": (commands.DeviceCommands, "device-commands"),
    "devices/<str:device_id>/telemetry": (telemetry.DeviceTelemetry, "device-telemetry"),
    "devices/<str:device_id>/telemetry/batch": (
        telemetry.DeviceTelemetryBatch,
        "device-telemetry-batch",
    ),
    "devices/<str:device_id>/telemetry/export": (exports.DeviceExport, "device-telemetry-export"),
    "telemetry": (telemetry.Telemetry, "telemetry"),
    "telemetry/batch": (telemetry.TelemetryBatch, "telemetry-batch"),
    "telemetry/latest": (telemetry.TelemetryLatest, "telemetry-latest"),
    "telemetry/history": (telemetry.TelemetryHistory, "telemetry-history"),
    "telemetry/export": (exports.TelemetryExport, "telemetry-export"),
    "analytics/device/<str:device_id>/timeseries": (
        telemetry.DeviceTimeseries,
        "device-timeseries",
    ),
    "commands/<str:command_id>/status": (commands.CommandStatus, "command-status"),
    "alerts": (alerts.AlertList, "alerts"),
    "alerts/stats/active": (alerts.AlertsActive, "alerts-active"),
    "alerts/stats/summary": (alerts.AlertsSummary, "alerts-summary"),
    "alerts/rules": (rules.RuleList, "alert-rules"),
    "alerts/rules/preview": (rules.NewRulePreview, "alert-rule-preview"),
    "alerts/rules/<str:rule_id>": (rules.RuleDetail, "alert-rule"),
    "alerts/rules/<str:rule_id>/test": (rules.RuleTest, "alert-rule-test"),
    "alerts/rules/<str:rule_id>/preview": (rules.RuleChangedPreview, "alert-rule-change-preview"),
    "alerts/check/<str:device_id>": (rules.DeviceCheck, "alerts-check"),
    "alerts/device/<str:device_id>": (alerts.AlertsOfDevice, "alerts-of-device"),
    "alerts/<str:alert_id>": (alerts.AlertDetail, "alert"),
    "alerts/<str:alert_id>/acknowledge": (alerts.AlertAcknowledgement, "alert-acknowledge"),
    "alerts/<str:alert_id>/resolve": (alerts.AlertResolution, "alert-resolve"),
}


def _patterns() -> Iterator[URLPattern]:
    for route, (view, name) in VIEWS.items():
        yield path(route, view.as_view(), name=name)
        # The same thing twice would fill the API's description with doubles.
        yield path(f"{route}/", view.as_view(schema=None))


urlpatterns = list(_patterns())
