"""Readings in the admin: looked at, never edited, and quick however many there are."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from devices.admin import ReadingAdmin, base
from devices.models import Device, Reading, Rollup, Series
from devices.tests.admin.pages import list_of, page_of, signed_in
from devices.tests.builders import NOW, a_device


@pytest.fixture
def client(viewer: User) -> Client:
    return signed_in(viewer)


@pytest.fixture
def series(device: Device) -> Series:
    series = Series.objects.create(device=device, metric="temperature", unit="°C")
    Reading.objects.bulk_create(
        Reading(
            series=series,
            at=NOW + timedelta(seconds=number),
            value=20 + number,
            unit="°C",
            received_at=NOW,
        )
        # The last to arrive is not the last measured.
        for number in (0, 2, 1)
    )
    Rollup.objects.create(series=series, hour=NOW, count=3, mean=21, low=20, high=22)
    return series


def values(client: Client, query: str = "") -> list[float]:
    rows = client.get(list_of("reading") + query).context["cl"].result_list
    return [reading.value for reading in rows]


def test_the_pages_open(client: Client, series: Series) -> None:
    for url in (
        list_of("series"),
        page_of(series),
        list_of("reading"),
        page_of(series.readings.first()),
        list_of("rollup"),
        page_of(series.rollups.get()),
        f"{list_of('rollup')}?series__id__exact={series.pk}",
    ):
        assert client.get(url).status_code == 200, url


def test_a_series_shows_its_last_value_and_leads_to_its_readings(
    client: Client, series: Series
) -> None:
    page = client.get(f"{list_of('series')}?q=TEMP-001").content.decode()
    assert "22 °C" in page
    assert f"{list_of('reading')}?series__id__exact={series.pk}" in page


def test_a_series_without_readings_is_listed(client: Client, device: Device) -> None:
    Series.objects.create(device=device, metric="humidity")
    assert client.get(list_of("series")).status_code == 200


def test_readings_of_a_series_are_in_the_order_of_their_time(
    client: Client, series: Series
) -> None:
    other = Series.objects.create(device=a_device("X"), metric="temperature")
    Reading.objects.create(series=other, at=NOW, value=99, received_at=NOW)
    assert values(client, f"?series__id__exact={series.pk}") == [22, 21, 20]
    assert values(client) == [99, 21, 22, 20]


def test_readings_are_not_counted_further_than_is_shown(
    client: Client, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "COUNTED_MAX", 2)
    response = client.get(list_of("reading"))
    assert response.context["cl"].result_count == 2


@pytest.mark.parametrize("query", ["", "?series__id__exact={}"])
def test_no_list_of_readings_looks_at_all_of_them(
    client: Client, series: Series, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every query is bounded, and walks along an index instead of sorting."""
    monkeypatch.setattr(ReadingAdmin, "list_per_page", 2)
    with CaptureQueriesContext(connection) as queries:
        client.get(list_of("reading") + query.format(series.pk))
    asked = [each["sql"] for each in queries if '"devices_reading"' in each["sql"]]
    assert asked
    for sql in asked:
        assert "LIMIT" in sql
    if connection.vendor == "sqlite":
        for sql in asked:
            assert "USE TEMP B-TREE" not in plan_of(sql)


def plan_of(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def test_what_was_measured_is_not_edited(administrator: User, series: Series) -> None:
    client = signed_in(administrator)
    rows: tuple[Any, ...] = (series, series.readings.first(), series.rollups.get())
    for row in rows:
        assert client.post(page_of(row), {"value": "1"}).status_code == 403
        assert client.post(page_of(row, "delete")).status_code == 403
        assert client.get(f"{list_of(row._meta.model_name)}add/").status_code == 403
