"""Refused and cut connections: listed while they are few, counted always, told when many."""

from datetime import UTC, datetime

import pytest
from django.db import OperationalError
from pytest_django import Settings

from realtime import attempts as module
from realtime.attempts import NOT_LISTED, ROWS_PER_SECOND, Attempts, record_error_report
from realtime.calls import call
from realtime.models import ErrorReport, RefusedAttempt
from realtime.tests.doubles import NOW

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def attempts(settings: Settings, clock: Clock, told: list[tuple[str, int]]) -> Attempts:
    settings.REFUSED_PER_ADDRESS_ALERT = 5
    return Attempts(on_many=lambda *about: told.append(about), clock=clock)


def note(attempts: Attempts, reason: str = "invalid_token", **about: str) -> None:
    given = {"username": "", "address": "192.0.2.1", "endpoint": "pubsub", **about}
    attempts.note(reason, **given)


async def rows() -> list[RefusedAttempt]:
    return await call(lambda: list(RefusedAttempt.objects.order_by("id")))


# --- Rows ----------------------------------------------------------------------------------


async def test_an_attempt_becomes_a_row(attempts: Attempts, clock: Clock) -> None:
    attempts.note(
        "forbidden", username="olga", address="192.0.2.1", endpoint="ai", detail="no, your role"
    )
    await attempts.write()
    (row,) = await rows()
    assert (row.reason, row.username, row.address, row.endpoint, row.detail) == (
        "forbidden",
        "olga",
        "192.0.2.1",
        "ai",
        "no, your role",
    )
    assert row.at == datetime.fromtimestamp(clock.now, UTC)


async def test_a_flood_costs_a_few_rows_a_second_and_says_how_many_more(
    attempts: Attempts, clock: Clock
) -> None:
    for _ in range(10_000):
        note(attempts)
    await attempts.write()
    stored = await rows()
    assert len(stored) == ROWS_PER_SECOND + 1
    assert stored[-1].reason == NOT_LISTED
    assert stored[-1].detail.startswith(f"{10_000 - ROWS_PER_SECOND} more")
    assert attempts.counts["invalid_token", "pubsub"] == 10_000
    clock.now += 1
    note(attempts)
    await attempts.write()
    assert len(await rows()) == ROWS_PER_SECOND + 2


async def test_the_oldest_rows_make_room(
    attempts: Attempts, clock: Clock, settings: Settings
) -> None:
    settings.REFUSED_ATTEMPTS_KEPT = 10
    for number in range(25):
        clock.now += 1
        note(attempts, detail=str(number))
        await attempts.write()
    assert [row.detail for row in await rows()] == [str(number) for number in range(15, 25)]


async def test_a_database_that_is_away_loses_nothing_that_waits_and_fills_no_memory(
    attempts: Attempts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(rows: object) -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(module, "_store_attempts", fails)
        for second in range(100):
            clock.now += 1
            for _ in range(ROWS_PER_SECOND):
                note(attempts, detail=str(second))
            with pytest.raises(OperationalError):
                await attempts.write()
    assert len(attempts._pending) <= module.PENDING_MAX
    await attempts.write()
    stored = await rows()
    assert stored[0].detail == "0"
    assert len(stored) <= module.PENDING_MAX + 1


async def test_nothing_noted_is_nothing_written(attempts: Attempts) -> None:
    await attempts.write()
    assert await rows() == []


async def test_a_row_holds_no_token_and_nothing_that_breaks_a_line(attempts: Attempts) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"
    note(attempts, "unknown_path", detail=f"/ws/{token}/x\0\r\ny", username="u" * 1_000)
    note(attempts, "unknown_path", detail="/" + "x" * 190 + token)
    await attempts.write()
    first, second = await rows()
    assert first.detail == "/ws/[token]/x\ufffd\ufffd\ufffdy"
    assert len(first.username) == 150
    assert "eyJ" not in second.detail
    assert len(second.detail) <= 200


async def test_of_reasons_and_endpoints_no_more_are_counted_than_promised(
    attempts: Attempts,
) -> None:
    for number in range(module.KINDS_MAX * 2):
        note(attempts, endpoint=str(number))
    assert len(attempts.counts) <= module.KINDS_MAX + 1
    assert sum(attempts.counts.values()) == module.KINDS_MAX * 2


# --- Many from one address -----------------------------------------------------------------


async def test_many_from_one_address_are_told_once_in_a_while(
    attempts: Attempts, clock: Clock, told: list
) -> None:
    for _ in range(5):
        note(attempts)
    assert told == []
    for _ in range(100):
        note(attempts)
    assert told == [("192.0.2.1", 5)]
    clock.now += 120
    for _ in range(100):
        note(attempts)
    assert len(told) == 1, "not again for some minutes"
    clock.now += module.QUIET_SECONDS
    for _ in range(100):
        note(attempts)
    assert len(told) == 2


async def test_few_a_minute_are_not_told_however_long_it_goes_on(
    attempts: Attempts, clock: Clock, told: list
) -> None:
    for _ in range(100):
        clock.now += 13
        note(attempts)
    assert told == []


async def test_many_from_many_addresses_are_told_of_a_few(attempts: Attempts, told: list) -> None:
    for number in range(100):
        for _ in range(10):
            note(attempts, address=f"192.0.2.{number}")
    assert len(told) == module.ALERTS_PER_MINUTE


@pytest.mark.parametrize("reason", sorted(module.OURS))
async def test_what_is_our_doing_is_not_held_against_an_address(
    attempts: Attempts, told: list, reason: str
) -> None:
    for _ in range(100):
        note(attempts, reason)
    assert told == []


async def test_who_has_no_address_is_nobody_in_particular(attempts: Attempts, told: list) -> None:
    for _ in range(100):
        note(attempts, address="")
    assert told == []


# --- Error reports -------------------------------------------------------------------------


def report(error: str = "Missing message type", message: str = "{}") -> None:
    record_error_report(username="olga", address="192.0.2.1", error=error, message=message, now=NOW)


def test_an_error_report_is_kept_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    report(message='{"a":1}')
    kept = ErrorReport.objects.get()
    assert (kept.username, kept.error, kept.message) == (
        "olga",
        "Missing message type",
        '{"a":1}',
    )
    assert "Missing message type" in caplog.text


def test_an_error_report_is_cut_to_a_bounded_length() -> None:
    report("e" * 10_000 + "\0", "m" * 100_000)
    kept = ErrorReport.objects.get()
    assert len(kept.error) == 500
    assert len(kept.message) == module.ERROR_REPORT_CHARACTERS


def test_the_oldest_reports_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ERROR_REPORTS_MAX", 3)
    for number in range(5):
        report(str(number))
    assert [each.error for each in ErrorReport.objects.all()] == ["4", "3", "2"]
