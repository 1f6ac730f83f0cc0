"""Readings over REST: stored, returned, told."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from devices import signals
from devices.models import Device, Reading
from devices.readings import METRICS_MAX, Report
from devices.services.devices import retire_device
from devices.services.telemetry import record_reports
from devices.tests.builders import LATER, NOW
from devices.tests.reports import a_report
from realtime.core.errors import Invalid, NotFound

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told() -> Iterator[list[list[Report]]]:
    """Collect what is told of readings."""
    heard: list[list[Report]] = []

    def ear(readings: list[Report], **_: object) -> None:
        assert Reading.objects.exists()
        heard.append(readings)

    signals.readings_recorded.connect(ear)
    yield heard
    signals.readings_recorded.disconnect(ear)


def test_readings_are_stored_returned_and_told(device: Device, told: list[list[Report]]) -> None:
    reports = [a_report(device, a=1), a_report(device, b=2, at=LATER)]
    rows = record_reports(reports, now=LATER)
    assert [(row.metric, row.value, row.at) for row in rows] == [("a", 1, NOW), ("b", 2, LATER)]
    assert [row.id for row in rows] == list(
        Reading.objects.order_by("at").values_list("pk", flat=True)
    )
    assert told == [reports]


def test_a_reading_is_a_sign_of_life(device: Device) -> None:
    record_reports([a_report(device, at=NOW - timedelta(days=1))], now=LATER)
    device.refresh_from_db()
    assert (device.status, device.last_seen) == (Device.Status.ONLINE, LATER)


def test_what_was_sent_before_is_returned_as_it_was_stored(device: Device) -> None:
    (first,) = record_reports([a_report(device, a=1, message_id="m")], now=NOW)
    again = [a_report(device, a=2, at=LATER, message_id="m"), a_report(device, a=3)]
    assert record_reports(again, now=LATER) == [first, first]
    assert Reading.objects.count() == 1


def test_all_are_stored_or_none(device: Device, told: list[list[Report]]) -> None:
    many = a_report(device, **{f"m{n}": 1.0 for n in range(METRICS_MAX)})
    with pytest.raises(Invalid):
        record_reports([many, a_report(device, one_more=1)], now=NOW)
    with pytest.raises(NotFound):
        record_reports([a_report(device), a_report(device.pk + 999)], now=NOW)
    assert not Reading.objects.exists()
    assert not told
    device.refresh_from_db()
    assert device.status == Device.Status.OFFLINE


def test_a_device_out_of_service_reports_nothing(device: Device) -> None:
    retire_device(device.pk, now=NOW)
    with pytest.raises(NotFound):
        record_reports([a_report(device)], now=NOW)
