"""What was measured: the newest values, rows, and series by interval. One statement each.

Readings and roll-ups never overlap: retention takes a reading away in the transaction that
adds it to its hour.
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from django.db import connection
from django.db.models import Q

from devices.clocks import SKEW
from devices.models import Reading, Series
from devices.models.fields import MICROSECOND, from_microseconds, to_microseconds
from devices.readings import Report, Stored
from realtime.core.errors import Invalid
from realtime.core.events import Measured

INTERVALS: Final = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
# Two weeks of minutes.
POINTS_MAX: Final = 20_160

# Sums are made of values scaled down by a power of two, which costs no precision: PostgreSQL
# refuses to add 1e308 to 1e308.
SCALE: Final = 2.0**-64


class Aggregation(StrEnum):
    """What one point says of all readings of its interval."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    SUM = "sum"


class Point(msgspec.Struct, frozen=True):
    """One interval of a series: when it began, its value, and how many readings it stands for."""

    at: datetime
    value: float
    count: int


class Interval(msgspec.Struct, frozen=True):
    """All readings of one interval together; `total` is their sum times SCALE."""

    at: datetime
    count: int
    total: float
    low: float
    high: float

    def point(self, aggregation: str) -> Point:
        """Return the point that an aggregation makes of it."""
        return Point(self.at, self._value(aggregation), self.count)

    def _value(self, aggregation: str) -> float:
        match aggregation:
            case Aggregation.MIN:
                return self.low
            case Aggregation.MAX:
                return self.high
            case Aggregation.COUNT:
                return self.count
            case Aggregation.SUM:
                # JSON has no infinity.
                return max(min(self.total / SCALE, sys.float_info.max), -sys.float_info.max)
            case _:
                return max(min(self.total / self.count / SCALE, self.high), self.low)


# --- Newest ---------------------------------------------------------------------------------

# Of a `Stored`, in its order.
_COLUMNS = (
    "r.id, s.device_id, s.metric, r.value, r.unit, r.at, r.received_at, r.is_skewed, r.message_id"
)

# By the index of series and time, one step for each series. A clock in the future does not
# hide what came since.
_OF_NEWEST = """
FROM devices_series s JOIN devices_reading r ON r.id = COALESCE(
    (SELECT n.id FROM devices_reading n
     WHERE n.series_id = s.id AND n.at <= %s ORDER BY n.at DESC LIMIT 1),
    (SELECT n.id FROM devices_reading n
     WHERE n.series_id = s.id ORDER BY n.at DESC LIMIT 1))
"""
_NEWEST = f"SELECT s.device_id, s.metric, r.value, r.unit, r.at {_OF_NEWEST}"


def newest_values(*, now: datetime) -> dict[int, dict[str, Measured]]:
    """Return the last value of every metric of every device."""
    return _newest(_NEWEST, [to_microseconds(now + SKEW)])


def newest_of(device_id: int, *, now: datetime) -> dict[str, Measured]:
    """Return the last value of every metric of one device."""
    sql = f"{_NEWEST} WHERE s.device_id = %s"
    return _newest(sql, [to_microseconds(now + SKEW), device_id]).get(device_id, {})


def newest_stored(device_id: int, *, now: datetime) -> list[Stored]:
    """Return the same as rows, by the names of their metrics."""
    sql = f"SELECT {_COLUMNS} {_OF_NEWEST} WHERE s.device_id = %s ORDER BY s.metric"
    return [_stored(*row) for row in _select(sql, [to_microseconds(now + SKEW), device_id])]


def _newest(sql: str, parameters: list[int]) -> dict[int, dict[str, Measured]]:
    values: dict[int, dict[str, Measured]] = {}
    for device_id, metric, value, unit, at in _select(sql, parameters):
        values.setdefault(device_id, {})[metric] = Measured(value, unit, from_microseconds(at))
    return values


# --- Rows -----------------------------------------------------------------------------------

# Of each series no more than `limit` rows are looked at, however many there are. The lower bound
# is one expression: given two, SQLite takes the plain one and computes the other for every row.
_ROWS = f"""
SELECT {_COLUMNS} FROM devices_series s JOIN devices_reading r ON r.series_id = s.id AND r.at <= %s
    AND r.at >= COALESCE((SELECT n.at FROM devices_reading n
        WHERE n.series_id = s.id AND n.at >= %s AND n.at <= %s
        ORDER BY n.at DESC LIMIT 1 OFFSET %s), %s)
WHERE s.device_id = %s AND (%s = '' OR s.metric = %s)
ORDER BY r.at DESC, r.id DESC LIMIT %s
"""
_EVER = 2**63 - 1


def newest_rows(
    device_id: int,
    *,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
    metric: str = "",
) -> list[Stored]:
    """Return the readings of a device from `since` to `until`, newest first, at most `limit`."""
    first = 0 if since is None else to_microseconds(since)
    last = _EVER if until is None else to_microseconds(until)
    parameters = [last, first, last, limit - 1, first, device_id, metric, metric, limit]
    return [_stored(*row) for row in _select(_ROWS, parameters)]


def stored_of(reports: Sequence[Report]) -> list[Stored]:
    """Return the stored readings of these reports, in order; some may be from an earlier report."""
    ids = {
        (device_id, metric): id_
        for id_, device_id, metric in Series.objects.filter(
            device_id__in={report.device_id for report in reports},
            metric__in={metric for report in reports for metric in report.metrics},
        ).values_list("id", "device_id", "metric")
    }
    moments = {measured.at for report in reports for measured in report.metrics.values()}
    messages = {report.message_id for report in reports} - {""}
    rows = Reading.objects.filter(
        Q(at__in=moments) | Q(message_id__in=messages), series_id__in=ids.values()
    )
    by_moment = {(row.series_id, row.at): row for row in rows}
    by_message = {(row.series_id, row.message_id): row for row in rows if row.message_id}
    found = []
    for report in reports:
        for metric, measured in report.metrics.items():
            series_id = ids[report.device_id, metric]
            row = by_message.get((series_id, report.message_id))
            found.append(
                _of_row(row or by_moment[series_id, measured.at], report.device_id, metric)
            )
    return found


def _of_row(row: Reading, device_id: int, metric: str) -> Stored:
    return Stored(
        id=row.pk,
        device_id=device_id,
        metric=metric,
        value=row.value,
        unit=row.unit,
        at=row.at,
        received_at=row.received_at,
        is_skewed=row.is_skewed,
        message_id=row.message_id,
    )


def _stored(
    id_: int,
    device_id: int,
    metric: str,
    value: float,
    unit: str,
    at: int,
    received_at: int,
    is_skewed: bool,
    message_id: str,
) -> Stored:
    return Stored(
        id=id_,
        device_id=device_id,
        metric=metric,
        value=value,
        unit=unit,
        at=from_microseconds(at),
        received_at=from_microseconds(received_at),
        is_skewed=bool(is_skewed),
        message_id=message_id,
    )


# --- Series by interval ---------------------------------------------------------------------

_POINTS = """
SELECT began, SUM(n), SUM(total), MIN(low), MAX(high) FROM (
    SELECT (r.at / %s) * %s AS began, COUNT(*) AS n, SUM(r.value * %s) AS total,
        MIN(r.value) AS low, MAX(r.value) AS high
    FROM devices_reading r JOIN devices_series s ON r.series_id = s.id
    WHERE s.device_id = %s AND s.metric = %s AND r.at >= %s AND r.at < %s
    GROUP BY 1
    UNION ALL
    SELECT (u.hour / %s) * %s, u.count, u.mean * %s * u.count, u.low, u.high
    FROM devices_rollup u JOIN devices_series s ON u.series_id = s.id
    WHERE s.device_id = %s AND s.metric = %s AND u.hour >= %s AND u.hour < %s
) AS parts GROUP BY began ORDER BY began
"""


def intervals(
    device_id: int, metric: str, *, interval: str, since: datetime, until: datetime
) -> list[Interval]:
    """Return what each interval that has readings holds, oldest first.

    An interval begins at a whole multiple of its length since 1970 (a day at midnight UTC), the
    first one holds `since`. What retention took is there hour by hour. Raises Invalid for an
    unknown interval, and for more than `POINTS_MAX` of them.
    """
    if interval not in INTERVALS:
        raise Invalid(f"an interval is one of {', '.join(INTERVALS)}", field="interval")
    step = INTERVALS[interval] // MICROSECOND
    first = to_microseconds(since) // step * step
    last = to_microseconds(until)
    if (last - first) // step > POINTS_MAX:
        raise Invalid(f"at most {POINTS_MAX} intervals: choose a longer one", field="interval")
    half = [step, step, SCALE, device_id, metric, first, last]
    return [
        Interval(from_microseconds(began), int(count), total, low, high)
        for began, count, total, low, high in _select(_POINTS, half * 2)
    ]


def points(
    device_id: int,
    metric: str,
    *,
    interval: str,
    aggregation: str,
    since: datetime,
    until: datetime,
) -> list[Point]:
    """Return one point for each of `intervals`. Raises Invalid, also for the aggregation."""
    if aggregation not in set(Aggregation):
        raise Invalid(f"an aggregation is one of {', '.join(Aggregation)}", field="aggregation")
    found = intervals(device_id, metric, interval=interval, since=since, until=until)
    return [each.point(aggregation) for each in found]


def statistics_of(found: Sequence[Interval]) -> dict[str, float | None]:
    """Return the count, min, max, avg and sum of all readings of these intervals together."""
    if not found:
        return {"count": 0, "min": None, "max": None, "avg": None, "sum": 0.0}
    total = Interval(
        found[0].at,
        sum(each.count for each in found),
        sum(each.total for each in found),
        min(each.low for each in found),
        max(each.high for each in found),
    )
    wanted = ("count", "min", "max", "avg", "sum")
    return {name: total.point(name).value for name in wanted}


def metrics_of(device_id: int) -> dict[str, str]:
    """Return the metrics that a device ever reported, with their units, by name."""
    rows = Series.objects.filter(device_id=device_id).order_by("metric")
    return dict(rows.values_list("metric", "unit"))


def _select(sql: str, parameters: Iterable[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
