"""Readings as clients of this API know them: one row is one metric at one time."""

from typing import Any, get_args

from rest_framework import serializers

from devices.api.bodies.common import NaiveUtcField, hours_field, limit_field, naive_utc
from devices.api.fields import NumberField, OneOfField, TextField, TimeField, id_field
from devices.exporting import Format
from devices.history import INTERVALS, Aggregation
from devices.readings import Stored

METRIC_MAX = 100
UNIT_MAX = 20
# A batch is one transaction and one answer.
BATCH_MAX = 1000
METRICS_MAX = 100
# Of one series in one answer.
ROWS_MAX = 10_000


def _metric(**kwargs: Any) -> TextField:
    return TextField(min_length=1, max_length=METRIC_MAX, **kwargs)


class NewReading(serializers.Serializer):
    """One value; without a `timestamp` it is of now. The path's device is the one that counts."""

    device_id = id_field(required=False, allow_null=True)
    metric_name = _metric()
    metric_value = NumberField()
    unit = TextField(max_length=UNIT_MAX, required=False, allow_null=True)
    timestamp = TimeField(required=False, allow_null=True)


class NewReadingOfDevice(NewReading):
    """The same where no path names the device."""

    device_id = id_field()


class NewReadings(serializers.Serializer):
    """A batch whose items name their devices: 1 to 1,000."""

    telemetry_data = NewReadingOfDevice(many=True)


class ReadingsQuery(serializers.Serializer):
    """How many rows, and how far back."""

    limit = limit_field()
    hours = hours_field()


class LatestQuery(serializers.Serializer):
    """Whose last values, and of which metrics (names separated by commas; all if empty)."""

    device_id = id_field()
    metrics = TextField(max_length=METRICS_MAX * METRIC_MAX, required=False)


class HistoryQuery(serializers.Serializer):
    """One metric over a time, a day until now by default, in steps."""

    device_id = id_field()
    metric = _metric()
    start_time = TimeField(required=False)
    end_time = TimeField(required=False)
    interval = OneOfField(tuple(INTERVALS), default="1h")
    aggregation = OneOfField(tuple(Aggregation), default="avg")


class TimeseriesQuery(serializers.Serializer):
    metric = _metric()
    hours = hours_field()


class ExportQuery(serializers.Serializer):
    """What to write out; everything that is kept by default."""

    format = OneOfField(get_args(Format), default="csv")
    metric = _metric(required=False)
    start_time = TimeField(required=False)
    end_time = TimeField(required=False)


class ExportsQuery(ExportQuery):
    """The same for one device, or for all."""

    device_id = id_field(required=False)


class ReadingItem(serializers.Serializer):
    """A reading. Its time is UTC, written without a zone."""

    metric_name = serializers.CharField()
    metric_value = serializers.FloatField()
    unit = serializers.CharField(allow_null=True)
    id = serializers.IntegerField()
    device_id = serializers.IntegerField()
    timestamp = NaiveUtcField()


class Mishap(serializers.Serializer):
    """Why one item of a batch was not stored."""

    index = serializers.IntegerField()
    detail = serializers.CharField()


class BatchAnswer(serializers.Serializer):
    """How many items were stored and how many were not; the numbers of those stored."""

    submitted = serializers.IntegerField()
    failed = serializers.IntegerField()
    ids = serializers.ListField(child=serializers.IntegerField())
    errors = Mishap(many=True)


class LatestValue(serializers.Serializer):
    value = serializers.FloatField()
    unit = serializers.CharField(allow_null=True)
    timestamp = NaiveUtcField()
    id = serializers.IntegerField()


class LatestAnswer(serializers.Serializer):
    """The last known value of each metric."""

    device_id = serializers.IntegerField()
    telemetry = serializers.DictField(child=LatestValue())
    last_updated = NaiveUtcField(allow_null=True)


class Point(serializers.Serializer):
    timestamp = NaiveUtcField()
    value = serializers.FloatField()
    count = serializers.IntegerField()


class Statistics(serializers.Serializer):
    """All points together; null where there is nothing."""

    count = serializers.IntegerField()
    min = serializers.FloatField(allow_null=True)
    max = serializers.FloatField(allow_null=True)
    avg = serializers.FloatField(allow_null=True)
    sum = serializers.FloatField()


class HistoryAnswer(serializers.Serializer):
    """One metric in steps; steps without a reading are left out."""

    device_id = serializers.IntegerField()
    metric = serializers.CharField()
    interval = serializers.ChoiceField(tuple(INTERVALS))
    aggregation = serializers.ChoiceField(tuple(Aggregation))
    start_time = NaiveUtcField()
    end_time = NaiveUtcField()
    data_points = Point(many=True)
    statistics = Statistics()


class TimedValue(serializers.Serializer):
    timestamp = NaiveUtcField()
    value = serializers.FloatField()
    unit = serializers.CharField(allow_null=True)


class TimeseriesAnswer(serializers.Serializer):
    """One metric, oldest first."""

    device_id = serializers.IntegerField()
    metric = serializers.CharField()
    time_range_hours = serializers.IntegerField()
    data_points = serializers.IntegerField()
    data = TimedValue(many=True)


def reading_item(stored: Stored) -> dict[str, Any]:
    """Return what ReadingItem describes."""
    return {
        "metric_name": stored.metric,
        "metric_value": stored.value,
        "unit": stored.unit or None,
        "id": stored.id,
        "device_id": stored.device_id,
        "timestamp": naive_utc(stored.at),
    }
