"""Moments: to the microsecond, in every zone, sorted and compared as numbers."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import connection
from django.db.models import Max, Min
from hypothesis import given
from hypothesis import strategies as st

from devices.models import Device, Reading, Series
from devices.models.fields import EPOCH, from_microseconds, to_microseconds
from devices.tests.builders import LATER, NOW

CARACAS = timezone(-timedelta(hours=4))


@pytest.fixture
def series(device: Device) -> Series:
    return Series.objects.create(device=device, metric="temperature", unit="°C")


def stored(series: Series, at: datetime) -> Reading:
    reading = Reading.objects.create(series=series, at=at, value=1.0, received_at=NOW)
    return Reading.objects.get(pk=reading.pk)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_moment_comes_back_to_the_microsecond(moment: datetime) -> None:
    assert from_microseconds(to_microseconds(moment)) == moment


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        (EPOCH, 0),
        (EPOCH - timedelta(microseconds=1), -1),
        (datetime(2024, 1, 1, 12, tzinfo=UTC), 1_704_110_400_000_000),
        (datetime(2024, 1, 1, 8, tzinfo=CARACAS), 1_704_110_400_000_000),
    ],
)
def test_a_moment_is_microseconds_since_1970(moment: datetime, number: int) -> None:
    assert to_microseconds(moment) == number
    assert from_microseconds(number) == moment


def test_a_moment_is_stored_as_a_number_and_read_in_utc(series: Series) -> None:
    reading = stored(series, NOW.astimezone(CARACAS))
    assert reading.at == NOW
    assert reading.at.tzinfo is UTC
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT at FROM {Reading._meta.db_table}")
        assert cursor.fetchone() == (to_microseconds(NOW),)


def test_moments_are_looked_up_by_datetimes(series: Series) -> None:
    early, late = stored(series, NOW), stored(series, LATER)
    find = Reading.objects.order_by("at").filter
    assert list(find(at=NOW)) == [early]
    assert list(find(at__gt=NOW)) == [late]
    assert list(find(at__gte=NOW, at__lt=LATER.astimezone(CARACAS))) == [early]
    assert list(find(at__range=(NOW, LATER))) == [early, late]
    assert list(find(at__in=[LATER])) == [late]
    assert list(Reading.objects.values_list("at", flat=True).order_by("-at")) == [LATER, NOW]


def test_the_earliest_and_the_latest_are_moments(series: Series) -> None:
    stored(series, NOW)
    stored(series, LATER)
    assert Reading.objects.aggregate(Min("at"), Max("at")) == {"at__min": NOW, "at__max": LATER}
    assert Reading.objects.filter(value=2.0).aggregate(Max("at")) == {"at__max": None}


def test_a_model_cleans_what_a_fixture_holds(series: Series) -> None:
    field = Reading._meta.get_field("at")
    assert field.to_python(to_microseconds(NOW)) == NOW
    assert field.to_python(NOW) == NOW
    assert field.to_python(None) is None
