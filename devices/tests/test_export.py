"""Exports: whole, in order, harmless, and gone when nobody reads on."""

import csv
import io
import json
from contextlib import closing
from datetime import timedelta

import pytest

from devices import export, exporting
from devices.export import Export, export_readings
from devices.exporting import Job, Source, as_json_lines, harmless, pages_of
from devices.models import Device
from devices.tests.builders import NOW, a_device
from devices.tests.reports import a_report, store_reports, store_values
from realtime.core.errors import Unavailable

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)


def lines(**how: object) -> list[dict[str, object]]:
    text = b"".join(export_readings(format="jsonl", **how)).decode()
    return [json.loads(line) for line in text.splitlines()]


def values(**how: object) -> list[float]:
    return [line["metric_value"] for line in lines(**how)]


def test_a_line_of_json_has_everything(device: Device) -> None:
    store_reports([a_report(device, received_at=NOW + SECOND, message_id="m1", humidity=45.25)])
    assert lines() == [
        {
            "device_id": device.pk,
            "metric_name": "humidity",
            "metric_value": 45.25,
            "unit": "°C",
            "timestamp": "2026-03-05T10:30:00.123456Z",
            "received_at": "2026-03-05T10:30:01.123456Z",
            "is_skewed": False,
            "message_id": "m1",
        }
    ]


def test_a_table_has_a_head_and_the_same_values(device: Device) -> None:
    store_reports([a_report(device, at=NOW + SECOND * n, humidity=-n / 3) for n in range(3)])
    text = b"".join(export_readings(format="csv")).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(lines()[0])
    assert [float(row["metric_value"]) for row in rows] == values()
    assert rows[1]["timestamp"] == "2026-03-05T10:30:01.123456+00:00"


def test_no_text_is_taken_for_a_formula(device: Device) -> None:
    evil = '=HYPERLINK("http://x","y")'
    store_reports([a_report(device, unit="@SUM(1)", message_id="-1+2", **{evil: -5.5})])
    (row,) = csv.DictReader(io.StringIO(b"".join(export_readings(format="csv")).decode()))
    assert (row["metric_name"], row["unit"], row["message_id"]) == (f"'{evil}", "'@SUM(1)", "'-1+2")
    assert row["metric_value"] == "-5.5", "a number is a number"
    assert lines()[0]["metric_name"] == evil


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_begins_a_formula_is_quoted(start: str) -> None:
    assert harmless(f"{start}1") == f"'{start}1"
    assert harmless(f"a{start}") == f"a{start}"
    assert harmless("") == ""


def test_devices_metrics_and_times_are_chosen(device: Device) -> None:
    other = a_device("TEMP-002")
    store_reports([a_report(device, at=NOW + SECOND * n, a=n, b=10 + n) for n in range(3)])
    store_reports([a_report(other, a=99)])
    assert values() == [0, 1, 2, 10, 11, 12, 99], "by device, metric and time"
    assert values(device_ids=[device.pk]) == [0, 1, 2, 10, 11, 12]
    assert values(device_ids=[]) == []
    assert values(metrics=["a"]) == [0, 1, 2, 99]
    assert values(metrics=["b"], since=NOW + SECOND, until=NOW + 2 * SECOND) == [11]


def test_pages_leave_nothing_out_and_repeat_nothing(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "ROWS_AT_ONCE", 7)
    store_values(device, range(50), every=SECOND)
    job = Job(
        database=export.database_address(),
        format="jsonl",
        device_ids=None,
        metrics=None,
        since=0,
        until=2**63 - 1,
    )
    with closing(Source(job.database)) as source:
        pages = list(pages_of(job, source))
    assert [len(page) for page in pages] == [7] * 7 + [1]
    assert [line.metric_value for page in pages for line in page] == list(range(50))
    assert b"".join(as_json_lines(iter(pages))).count(b"\n") == 50


def test_no_more_than_two_run_at_once(device: Device) -> None:
    running = [export_readings(format="csv") for _ in range(export.EXPORTS_AT_ONCE)]
    with pytest.raises(Unavailable):
        export_readings(format="csv")
    running[0].close()
    running[0].close()
    assert list(export_readings(format="csv"))
    assert list(running[1])
    assert list(running[0]) == []


def test_whoever_stops_reading_leaves_no_process(device: Device) -> None:
    store_values(device, range(2_000), every=SECOND)
    started = export_readings(format="jsonl")
    assert next(started)
    process = started._process
    assert process is not None
    del started
    assert process.returncode is not None
    running = [export_readings(format="csv") for _ in range(export.EXPORTS_AT_ONCE)]
    for each in running:
        each.close()


def test_an_export_that_fails_does_not_end_like_a_whole_one(tmp_path: object) -> None:
    job = Job(
        database=f"{tmp_path}/none/none.sqlite3",
        format="csv",
        device_ids=None,
        metrics=None,
        since=0,
        until=1,
    )
    with pytest.raises(Unavailable):
        list(Export(job))
