"""Alerts as clients of this API know them."""

from typing import Any

from rest_framework import serializers

from devices.api.bodies.common import NaiveUtcField, PageQuery, naive_utc
from devices.api.fields import NumberField, OneOfField, TextField, id_field
from devices.models import Alert, Severity

NOTE_MAX = 1000


class AlertsQuery(PageQuery):
    """Which alerts, newest first."""

    status = OneOfField(Alert.Status.choices, required=False)
    severity = OneOfField(Severity.choices, required=False)


class NewAlert(serializers.Serializer):
    """An alert raised by hand."""

    device_id = id_field()
    title = TextField(min_length=1, max_length=200)
    severity = OneOfField(Severity.choices)
    alert_type = OneOfField(Alert.Type.choices)
    description = TextField(max_length=1000, is_long=True, required=False, allow_null=True)
    threshold_value = NumberField(required=False, allow_null=True)
    actual_value = NumberField(required=False, allow_null=True)
    metric_name = TextField(max_length=100, required=False, allow_null=True)


def _note() -> TextField:
    return TextField(max_length=NOTE_MAX, is_long=True, required=False, allow_null=True)


class Note(serializers.Serializer):
    """What to remember of it, under any of the names that clients use."""

    note = _note()
    notes = _note()
    resolution_note = _note()


class AlertItem(serializers.Serializer):
    """An alert. Times are UTC, written without a zone; who did it is a username, if anybody."""

    id = serializers.IntegerField()
    device_id = serializers.IntegerField(allow_null=True)
    title = serializers.CharField()
    description = serializers.CharField(allow_null=True)
    severity = serializers.ChoiceField(Severity.choices)
    alert_type = serializers.ChoiceField(Alert.Type.choices)
    status = serializers.ChoiceField(Alert.Status.choices)
    threshold_value = serializers.FloatField(allow_null=True)
    actual_value = serializers.FloatField(allow_null=True)
    metric_name = serializers.CharField(allow_null=True)
    created_at = NaiveUtcField()
    acknowledged_at = NaiveUtcField(allow_null=True)
    resolved_at = NaiveUtcField(allow_null=True)
    rule_id = serializers.IntegerField(allow_null=True)
    acknowledged_by = serializers.CharField(allow_null=True)
    resolved_by = serializers.CharField(allow_null=True)
    notes = serializers.CharField(allow_null=True)


class ActiveCounts(serializers.Serializer):
    """How many alerts nobody has looked at yet."""

    critical = serializers.IntegerField()
    warning = serializers.IntegerField()
    info = serializers.IntegerField()
    total = serializers.IntegerField()


class AlertSummary(serializers.Serializer):
    """What was raised lately: counts by word, by hour of the day (UTC) and by device."""

    total_alerts = serializers.IntegerField()
    by_severity = serializers.DictField(child=serializers.IntegerField())
    by_status = serializers.DictField(child=serializers.IntegerField())
    by_type = serializers.DictField(child=serializers.IntegerField())
    alerts_per_hour = serializers.DictField(child=serializers.IntegerField())
    top_devices = serializers.DictField(child=serializers.IntegerField())


def alert_item(alert: Alert) -> dict[str, Any]:
    """Return what AlertItem describes; the people have to be loaded with it."""
    return {
        "id": alert.pk,
        "device_id": alert.device_id,
        "title": alert.title,
        "description": alert.message or None,
        "severity": alert.severity,
        "alert_type": alert.alert_type,
        "status": alert.status,
        "threshold_value": alert.threshold_value,
        "actual_value": alert.actual_value,
        "metric_name": alert.metric or None,
        "created_at": naive_utc(alert.created_at),
        "acknowledged_at": naive_utc(alert.acknowledged_at),
        "resolved_at": naive_utc(alert.resolved_at),
        "rule_id": alert.rule_id,
        "acknowledged_by": alert.acknowledged_by and alert.acknowledged_by.username,
        "resolved_by": alert.resolved_by and alert.resolved_by.username,
        "notes": alert.note or None,
    }
