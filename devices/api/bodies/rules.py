"""Alert rules as clients of this API know them."""

from datetime import timedelta
from typing import Any

from rest_framework import serializers

from devices.api.bodies.alerts import AlertItem
from devices.api.bodies.common import LIMIT_MAX, SKIP_MAX, NaiveUtcField, naive_utc
from devices.api.fields import (
    FlagField,
    NumberField,
    OneOfField,
    TextField,
    WholeField,
    id_field,
)
from devices.backtest import Outcome, Pair
from devices.models import AlertRule, Severity
from devices.services.previews import HOURS_DEFAULT, HOURS_MAX, Preview

# Nobody waits longer, and the database's integers end somewhere.
SECONDS_MAX = int(timedelta(days=3650).total_seconds())
MINUTES_MAX = SECONDS_MAX // 60

# Their names -> ours, where they differ.
COLUMNS = {"metric_name": "metric", "threshold_value": "threshold"}


class RulesQuery(serializers.Serializer):
    """Which rules; those in force unless `is_active` says otherwise."""

    skip = WholeField(least=0, most=SKIP_MAX, default=0)
    limit = WholeField(least=1, most=LIMIT_MAX, default=LIMIT_MAX)
    device_id = id_field(required=False)
    is_active = FlagField(default=True)


def _seconds() -> NumberField:
    return NumberField(least=0, most=SECONDS_MAX, required=False)


class RuleChange(serializers.Serializer):
    """Any subset; what is not given stays as it is.

    `notification_enabled` is accepted and has no effect: whoever listens is told.
    """

    name = TextField(min_length=1, max_length=100, required=False)
    description = TextField(max_length=1000, is_long=True, required=False, allow_null=True)
    device_id = id_field(required=False, allow_null=True)
    device_type = TextField(max_length=50, required=False, allow_null=True)
    metric_name = TextField(min_length=1, max_length=100, required=False)
    condition = OneOfField(AlertRule.Condition.choices, required=False)
    threshold_value = NumberField(required=False)
    clear_threshold = NumberField(required=False, allow_null=True)
    raise_after_seconds = _seconds()
    clear_after_seconds = _seconds()
    severity = OneOfField(Severity.choices, required=False)
    is_active = FlagField(required=False)
    resolves_itself = FlagField(required=False)
    notification_enabled = FlagField(required=False)
    cooldown_minutes = WholeField(least=0, most=MINUTES_MAX, required=False)
    cooldown_seconds = WholeField(least=0, most=SECONDS_MAX, required=False)


class NewRule(RuleChange):
    """A rule: for a device, or for all of a type, or for all when neither is given."""

    name = TextField(min_length=1, max_length=100)
    metric_name = TextField(min_length=1, max_length=100)
    condition = OneOfField(AlertRule.Condition.choices)
    threshold_value = NumberField()


def _hours() -> NumberField:
    return NumberField(least=0.01, most=HOURS_MAX, default=HOURS_DEFAULT)


class RulePreview(NewRule):
    """A rule that is not there yet, and how many hours of the past to try it on."""

    name = TextField(min_length=1, max_length=100, required=False)
    hours = _hours()


class RuleChangePreview(RuleChange):
    """What would be changed of a rule, if anything, and how many hours of the past to look at."""

    hours = _hours()


class TriedValue(serializers.Serializer):
    test_value = NumberField()


class RuleItem(serializers.Serializer):
    """A rule. Times are UTC, written without a zone."""

    name = serializers.CharField()
    description = serializers.CharField(allow_null=True)
    device_id = serializers.IntegerField(allow_null=True)
    device_type = serializers.CharField(allow_null=True)
    metric_name = serializers.CharField()
    condition = serializers.ChoiceField(AlertRule.Condition.choices)
    threshold_value = serializers.FloatField()
    severity = serializers.ChoiceField(Severity.choices)
    is_active = serializers.BooleanField()
    notification_enabled = serializers.BooleanField()
    cooldown_minutes = serializers.FloatField()
    id = serializers.IntegerField()
    created_at = NaiveUtcField()
    updated_at = NaiveUtcField()
    clear_threshold = serializers.FloatField(allow_null=True)
    raise_after_seconds = serializers.FloatField()
    clear_after_seconds = serializers.FloatField()
    cooldown_seconds = serializers.IntegerField()
    resolves_itself = serializers.BooleanField()


class RuleTrial(serializers.Serializer):
    """Whether the rule's condition holds for a value; hold times and cooldown do not count."""

    rule_id = serializers.IntegerField()
    test_value = serializers.FloatField()
    condition = serializers.ChoiceField(AlertRule.Condition.choices)
    threshold_value = serializers.FloatField()
    triggered = serializers.BooleanField()
    message = serializers.CharField()


class OutcomeItem(serializers.Serializer):
    """What became of one rule: alerts raised, seconds they were open, readings judged."""

    alerts_raised = serializers.IntegerField()
    open_seconds = serializers.FloatField()
    telemetry_points_checked = serializers.IntegerField()


class PreviewedAlert(serializers.Serializer):
    """An alert that would have been raised, and whether today's rule raises it too."""

    device_id = serializers.IntegerField()
    device_name = serializers.CharField(allow_null=True)
    raised_at = NaiveUtcField()
    cleared_at = NaiveUtcField(allow_null=True)
    actual_value = serializers.FloatField(allow_null=True)
    raised_by = serializers.ChoiceField(("both", "previewed", "today"))


class PreviewAnswer(serializers.Serializer):
    """`today` is null for a new rule, and where nothing would change.

    The first 1,000 alerts of each are listed, all are counted.
    """

    title = serializers.CharField()
    start_time = NaiveUtcField()
    end_time = NaiveUtcField()
    previewed = OutcomeItem()
    today = OutcomeItem(allow_null=True)
    alerts = PreviewedAlert(many=True)
    is_cut = serializers.BooleanField()


class CheckAnswer(serializers.Serializer):
    """What came of judging the last hour."""

    device_id = serializers.IntegerField()
    telemetry_points_checked = serializers.IntegerField()
    new_alerts_created = serializers.IntegerField()
    alerts = AlertItem(many=True)


def rule_item(rule: AlertRule) -> dict[str, Any]:
    """Return what RuleItem describes."""
    minutes = rule.cooldown_seconds / 60
    return {
        "name": rule.name,
        "description": rule.description or None,
        "device_id": rule.device_id,
        "device_type": rule.device_type or None,
        "metric_name": rule.metric,
        "condition": rule.condition,
        "threshold_value": rule.threshold,
        "severity": rule.severity,
        "is_active": rule.is_active,
        "notification_enabled": True,
        "cooldown_minutes": int(minutes) if minutes.is_integer() else minutes,
        "id": rule.pk,
        "created_at": naive_utc(rule.created_at),
        "updated_at": naive_utc(rule.updated_at),
        "clear_threshold": rule.clear_threshold,
        "raise_after_seconds": rule.raise_after_seconds,
        "clear_after_seconds": rule.clear_after_seconds,
        "cooldown_seconds": rule.cooldown_seconds,
        "resolves_itself": rule.resolves_itself,
    }


def columns_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return a checked body as columns of AlertRule; null empties a text."""
    columns = {COLUMNS.get(name, name): value for name, value in body.items()}
    columns.pop("notification_enabled", None)
    minutes = columns.pop("cooldown_minutes", None)
    if minutes is not None:
        columns.setdefault("cooldown_seconds", minutes * 60)
    for name in ("description", "device_type"):
        if name in columns:
            columns[name] = columns[name] or ""
    return columns


def preview_item(preview: Preview) -> dict[str, Any]:
    """Return what PreviewAnswer describes."""
    return {
        "title": preview.title,
        "start_time": naive_utc(preview.since),
        "end_time": naive_utc(preview.until),
        "previewed": _outcome_item(preview.changed),
        "today": preview.today and _outcome_item(preview.today),
        "alerts": [_alert_of(line, preview) for line in preview.lines],
        "is_cut": preview.is_cut,
    }


def _outcome_item(outcome: Outcome) -> dict[str, Any]:
    return {
        "alerts_raised": outcome.count,
        "open_seconds": outcome.open_time.total_seconds(),
        "telemetry_points_checked": outcome.readings,
    }


def _alert_of(line: Pair, preview: Preview) -> dict[str, Any]:
    alert = line.changed or line.today
    assert alert is not None
    raised_by = "both"
    if line.today is None:
        raised_by = "previewed"
    elif line.changed is None:
        raised_by = "today"
    return {
        "device_id": alert.device_id,
        "device_name": preview.devices.get(alert.device_id),
        "raised_at": naive_utc(alert.raised_at),
        "cleared_at": naive_utc(alert.cleared_at),
        "actual_value": alert.value,
        "raised_by": raised_by,
    }
