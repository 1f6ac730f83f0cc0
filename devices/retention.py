"""What becomes of old readings: each is added to its hour and deleted, in one transaction.

So a reading and the roll-up that stands for it are never seen together, pruning twice changes
nothing, and what arrives late is added to the hour that is there. The newest reading of a
series is kept however old it is: the last known state.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef

from devices.history import SCALE
from devices.models import Reading, Rollup, Series
from devices.models.fields import MICROSECOND, from_microseconds

# One transaction; the writer waits for it on SQLite.
DELETED_AT_ONCE: Final = 2_000
HOUR: Final = timedelta(hours=1) // MICROSECOND

# Begin, count, scaled sum, lowest, highest; see history.SCALE.
_Hour = tuple[int, int, float, float, float]


class Pruned(NamedTuple):
    """How many rows went."""

    readings: int
    rollups: int


def prune(*, now: datetime, keep_readings: timedelta, keep_rollups: timedelta) -> Pruned:
    """Roll up and delete readings older than `keep_readings`, delete roll-ups older than
    `keep_rollups`. Two that prune at once do not disturb each other.
    """
    return Pruned(
        readings=roll_up(before=now - keep_readings),
        rollups=delete_rollups(before=now - keep_rollups),
    )


def roll_up(*, before: datetime) -> int:
    """Move readings from before into their hours; return how many."""
    old = Reading.objects.filter(series_id=OuterRef("pk"), at__lt=before)
    moved = 0
    for series_id in list(Series.objects.filter(Exists(old)).values_list("pk", flat=True)):
        while count := _roll_up_some(series_id, before):
            moved += count
    return moved


def delete_rollups(*, before: datetime) -> int:
    """Delete the hours that ended before; return how many."""
    old = Rollup.objects.filter(hour__lt=before - timedelta(hours=1))
    of_series = old.filter(series_id=OuterRef("pk"))
    deleted = 0
    for series_id in list(Series.objects.filter(Exists(of_series)).values_list("pk", flat=True)):
        while ids := list(
            old.filter(series_id=series_id).values_list("pk", flat=True)[:DELETED_AT_ONCE]
        ):
            Rollup.objects.filter(pk__in=ids).delete()
            deleted += len(ids)
    return deleted


@transaction.atomic
def _roll_up_some(series_id: int, before: datetime) -> int:
    """Move the oldest readings of a series; the lock keeps a second one that prunes away."""
    if not Series.objects.select_for_update(no_key=True).filter(pk=series_id).exists():
        return 0
    readings = Reading.objects.filter(series_id=series_id)
    newest = readings.aggregate(at=Max("at"))["at"]
    old = readings.filter(at__lt=before).exclude(at=newest).order_by("at")
    ids = list(old.values_list("pk", flat=True)[:DELETED_AT_ONCE])
    if ids:
        _add(series_id, _hours_of(ids))
        Reading.objects.filter(pk__in=ids).delete()
    return len(ids)


def _hours_of(ids: Iterable[int]) -> list[_Hour]:
    marks = ", ".join("%s" for _ in ids)
    sql = (
        f"SELECT (at / {HOUR}) * {HOUR}, COUNT(*), SUM(value * %s), MIN(value), MAX(value)"
        f" FROM {Reading._meta.db_table} WHERE id IN ({marks}) GROUP BY 1"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [SCALE, *ids])
        hours: list[Any] = cursor.fetchall()
    return hours


def _add(series_id: int, hours: Iterable[_Hour]) -> None:
    """Add these readings to the hours of a series, which is locked."""
    begins = {from_microseconds(hour[0]): hour for hour in hours}
    known = {
        rollup.hour: rollup
        for rollup in Rollup.objects.filter(series_id=series_id, hour__in=begins)
    }
    merged = [
        _merged(known.get(began) or Rollup(series_id=series_id, hour=began, count=0), hour)
        for began, hour in begins.items()
    ]
    Rollup.objects.bulk_create(
        merged,
        update_conflicts=True,
        unique_fields=["series", "hour"],
        update_fields=["count", "mean", "low", "high"],
    )


def _merged(rollup: Rollup, hour: _Hour) -> Rollup:
    _, count, total, low, high = hour
    if rollup.count:
        total += rollup.mean * SCALE * rollup.count
        low, high = min(low, rollup.low), max(high, rollup.high)
    rollup.count += count
    # Rounding may carry the mean of equal values past them.
    rollup.mean = max(low, min(high, total / rollup.count / SCALE))
    rollup.low, rollup.high = low, high
    return rollup
