"""Reports on their way through the writer: what is stored, once, and who is refused."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from devices import writer as writer_module
from devices.clocks import SKEW
from devices.models import Device, Reading, Series
from devices.readings import METRICS_MAX, Report
from devices.tests.builders import LATER, NOW, a_device, chunks_after, start
from devices.tests.reports import a_report, measured, stored_values
from devices.tests.writing import held_up, run, stored
from devices.writer import Writer
from realtime.core.errors import Invalid, Unavailable

pytestmark = pytest.mark.django_db(transaction=True)

MICROSECOND = timedelta(microseconds=1)


def outcomes_of(writer: Writer, reports: list[Report]) -> list[BaseException | None]:
    """Hand these over one by one, as one batch, and return what became of each."""

    async def main() -> list[BaseException | None]:
        with held_up(writer):
            futures = [writer.put_report(report) for report in reports]
        return await asyncio.gather(*futures, return_exceptions=True)

    return run(main)


def refused_of(writer: Writer, *batches: list[Report]) -> list[dict[int, BaseException]]:
    """Hand these over as several batches that make one transaction."""

    async def main() -> list[Any]:
        with held_up(writer):
            futures = [writer.put_reports(batch) for batch in batches]
        return await asyncio.gather(*futures)

    return run(main)


# --- what is written ------------------------------------------------------------------


def test_a_reading_is_stored_as_it_came(device: Device, writer: Writer) -> None:
    at, received_at = NOW - 3 * MICROSECOND, NOW + MICROSECOND
    report = a_report(device, at=at, received_at=received_at, message_id="a1", temperature=-23.5)
    assert outcomes_of(writer, [report]) == [None]
    reading = Reading.objects.select_related("series").get()
    assert (reading.series.device_id, reading.series.metric) == (device.pk, "temperature")
    assert (reading.value, reading.unit, reading.message_id) == (-23.5, "°C", "a1")
    assert (reading.at, reading.received_at, reading.is_skewed) == (at, received_at, False)


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e308, -1e-308, 5e-324, 1 / 3, 123456789.123456789])
def test_a_value_is_stored_to_its_last_digit(device: Device, writer: Writer, value: float) -> None:
    assert outcomes_of(writer, [a_report(device, temperature=value)]) == [None]
    assert Reading.objects.get().value == value


@pytest.mark.parametrize("text", ['"quoted"', "back\\slash", "µ°Ω", "{}", "'; --", "%s ?"])
def test_texts_are_stored_as_they_are(device: Device, writer: Writer, text: str) -> None:
    report = a_report(device, unit=text, message_id=text, **{text: 1.0})
    assert outcomes_of(writer, [report]) == [None]
    reading = Reading.objects.get()
    assert (reading.series.metric, reading.unit, reading.message_id) == (text, text, text)


def test_what_waits_is_written_in_one_transaction(device: Device, writer: Writer) -> None:
    commits: list[int] = []
    insert = writer._readings.insert
    writer._readings.insert = lambda reports: commits.append(len(reports)) or insert(reports)
    reports = [a_report(device, at=NOW + n * MICROSECOND) for n in range(100)]
    assert outcomes_of(writer, reports) == [None] * 100
    assert commits == [100]
    assert Reading.objects.count() == 100


def test_a_batch_counts_readings_not_messages(
    device: Device, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "BATCH_ROWS", 4)
    sizes: list[int] = []
    insert = writer._readings.insert
    writer._readings.insert = lambda reports: sizes.append(len(reports)) or insert(reports)
    reports = [a_report(device, at=NOW + n * MICROSECOND, a=1, b=2) for n in range(6)]
    assert outcomes_of(writer, reports) == [None] * 6
    assert max(sizes) == 2
    assert Reading.objects.count() == 12


def test_chunks_and_readings_that_alternate_take_two_transactions(
    device: Device, surgeon: Any, writer: Writer
) -> None:
    calls: list[str] = []
    for store in (writer._chunks, writer._readings):

        def insert(rows: Any, name: str = type(store).__name__, insert: Any = store.insert) -> Any:
            calls.append(name)
            return insert(rows)

        store.insert = insert
    recording = start(surgeon)
    chunks = chunks_after(recording, [1] * 5)

    async def main() -> None:
        with held_up(writer):
            work = []
            for n, chunk in enumerate(chunks):
                work += [writer.put(chunk), writer.put_report(a_report(device, at=LATER, a=n))]
        await asyncio.gather(*work)

    run(main)
    assert sorted(calls) == ["ChunkStore", "ReadingStore"]
    assert stored(recording.surgery_id) == list(range(5))


def test_a_clock_ahead_of_ours_is_flagged_and_kept(device: Device, writer: Writer) -> None:
    ahead = NOW + SKEW + MICROSECOND
    reports = [
        a_report(device, at=NOW + SKEW, received_at=NOW, just=1),
        a_report(device, at=ahead, received_at=NOW, ahead=1),
        a_report(device, at=NOW - timedelta(days=400), received_at=NOW, late=1),
    ]
    assert outcomes_of(writer, reports) == [None] * 3
    flagged = Reading.objects.filter(is_skewed=True)
    assert [(row.series.metric, row.at) for row in flagged] == [("ahead", ahead)]
    assert [report.is_skewed(*report.metrics.values()) for report in reports] == [
        False,
        True,
        False,
    ]


# --- once -----------------------------------------------------------------------------


def test_the_same_moment_is_stored_once_and_acknowledged_again(
    device: Device, writer: Writer
) -> None:
    first, again = a_report(device, temperature=1), a_report(device, temperature=2)
    assert outcomes_of(writer, [first]) == [None]
    assert outcomes_of(writer, [again, again]) == [None, None]
    assert stored_values() == [(device.pk, "temperature", 1.0, 0)]


def test_the_same_message_is_stored_once_whatever_its_time(device: Device, writer: Writer) -> None:
    reports = [
        a_report(device, at=NOW + n * MICROSECOND, message_id="a1", a=n, b=n) for n in range(3)
    ]
    assert outcomes_of(writer, reports) == [None] * 3
    assert stored_values() == [(device.pk, "a", 0.0, 0), (device.pk, "b", 0.0, 0)]


def test_another_metric_device_or_moment_is_another_reading(device: Device, writer: Writer) -> None:
    other = a_device("TEMP-002")
    reports = [
        a_report(device, a=1, message_id="m1"),
        a_report(device, b=1, message_id="m1"),
        a_report(other, a=1, message_id="m1"),
        a_report(device, a=1, at=NOW + MICROSECOND, message_id="m2"),
        a_report(device, a=1, at=NOW + 2 * MICROSECOND),
        a_report(device, a=1, at=NOW + 3 * MICROSECOND),
    ]
    assert outcomes_of(writer, reports) == [None] * 6
    assert Reading.objects.count() == 6


# --- series ---------------------------------------------------------------------------


def test_a_series_keeps_the_latest_unit(device: Device, writer: Writer) -> None:
    units = ["°C", "°F", "K"]
    for n, unit in enumerate(units):
        outcomes_of(writer, [a_report(device, at=NOW + n * MICROSECOND, unit=unit)])
        assert Series.objects.get().unit == unit
    readings = Reading.objects.order_by("at")
    assert list(readings.values_list("unit", flat=True)) == units


def test_series_that_are_known_are_not_looked_up_again(
    device: Device, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes_of(writer, [a_report(device)])
    monkeypatch.setattr(Series, "objects", None)
    assert outcomes_of(writer, [a_report(device, at=LATER)]) == [None]


def test_a_series_of_another_process_is_found(device: Device, writer: Writer) -> None:
    outcomes_of(writer, [a_report(device, a=1)])
    elsewhere = Writer()
    elsewhere.start()
    assert outcomes_of(elsewhere, [a_report(device, b=1)]) == [None]
    elsewhere.stop()
    assert outcomes_of(writer, [a_report(device, at=LATER, a=2, b=2)]) == [None]
    assert Series.objects.count() == 2
    assert Reading.objects.count() == 4


def test_what_was_rolled_back_is_not_taken_for_known(
    device: Device, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0)
    insert = writer._readings.insert

    def insert_in_vain(reports: Any) -> None:
        insert(reports)
        raise OperationalError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(writer._readings, "insert", insert_in_vain)
        assert isinstance(outcomes_of(writer, [a_report(device)])[0], Unavailable)
    assert not Series.objects.exists()
    assert outcomes_of(writer, [a_report(device)]) == [None]
    assert Reading.objects.get().series == Series.objects.get()


def test_a_small_memory_of_series_does_no_harm(
    device: Device, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.storing.SERIES_REMEMBERED", 2)
    reports = [a_report(device, at=NOW + n * MICROSECOND, **{f"m{n % 5}": n}) for n in range(20)]
    for report in reports:
        assert outcomes_of(writer, [report]) == [None]
    assert Series.objects.count() == 5
    assert Reading.objects.count() == 20


# --- what is refused ------------------------------------------------------------------


def test_one_metric_too_many_is_refused_by_name(device: Device, writer: Writer) -> None:
    most = {f"m{n:03}": 1.0 for n in range(METRICS_MAX)}
    full, beyond, fine = outcomes_of(
        writer,
        [
            a_report(device, **most),
            a_report(device, at=LATER, m000=2, zz=1),
            a_report(device, at=LATER, m001=2),
        ],
    )
    assert (full, fine) == (None, None)
    assert isinstance(beyond, Invalid)
    assert beyond.field == "zz"
    assert Reading.objects.filter(at=LATER).count() == 1, "all of a report or none of it"
    assert Series.objects.count() == METRICS_MAX


def test_a_report_that_the_database_refuses_fails_alone(device: Device, writer: Writer) -> None:
    reports = [a_report(device, at=NOW + n * MICROSECOND, a=n, b=n) for n in range(9)]
    bad = 4
    nan = {"a": measured(1.0), "b": measured(float("nan"))}
    reports[bad] = Report(device_id=device.pk, account_id=None, metrics=nan, received_at=NOW)
    outcomes = outcomes_of(writer, reports)
    assert [n for n, outcome in enumerate(outcomes) if outcome] == [bad]
    assert isinstance(outcomes[bad], Invalid)
    assert Reading.objects.count() == 16


def test_a_device_that_does_not_exist_is_refused_alone(device: Device, writer: Writer) -> None:
    good, gone = outcomes_of(writer, [a_report(device), a_report(device.pk + 999)])
    assert good is None
    assert isinstance(gone, Invalid)
    assert Reading.objects.count() == 1


def test_of_several_reports_the_refused_are_told_by_their_place(
    device: Device, writer: Writer
) -> None:
    unknown = device.pk + 999
    first, second = refused_of(
        writer,
        [a_report(device, a=1), a_report(unknown, a=1), a_report(device, b=1)],
        [a_report(unknown, a=1), a_report(device, c=1)],
    )
    assert {place: type(error) for place, error in first.items()} == {1: Invalid}
    assert {place: type(error) for place, error in second.items()} == {0: Invalid}
    assert [metric for _, metric, _, _ in stored_values()] == ["a", "b", "c"]


def test_no_reports_are_stored_without_a_word(device: Device, writer: Writer) -> None:
    assert refused_of(writer, []) == [{}]


def test_a_database_that_stays_away_is_told_to_all(
    device: Device, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0)
    monkeypatch.setattr(writer._readings, "insert", fail)
    (refused,) = refused_of(writer, [a_report(device, a=1), a_report(device, b=1)])
    assert [type(error) for error in refused.values()] == [Unavailable, Unavailable]


# --- fill -----------------------------------------------------------------------------


def test_it_is_behind_by_what_waits_and_not_by_what_is_done(
    device: Device, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "HIGH", 30)

    async def main() -> None:
        with held_up(writer):
            futures = [
                writer.put_reports([a_report(device, at=NOW + n * MICROSECOND, a=1, b=1)] * 5)
                for n in range(2)
            ]
            assert not writer.is_behind
            futures.append(writer.put_report(a_report(device, at=LATER, a=1)))
            assert writer.is_behind
        await asyncio.gather(*futures)
        await writer.submit(lambda: None)

    run(main)
    assert not writer.is_behind


def test_many_answers_leave_the_loop_its_turns(
    device: Device, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "ANSWERS_AT_ONCE", 7)
    reports = [a_report(device, at=NOW + n * MICROSECOND) for n in range(50)]
    assert outcomes_of(writer, reports) == [None] * 50
