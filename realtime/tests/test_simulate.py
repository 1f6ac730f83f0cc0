"""`manage.py simulate`: as many surgeons and devices as asked, a line for each."""

import asyncio
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from realtime.client.connection import Backoff
from realtime.client.errors import LoginRefused, NotAllowed, RequestFailed, Unreachable
from realtime.client.rest import DeviceItem
from realtime.management.commands import simulate

SURGERY = UUID("550e8400-e29b-41d4-a716-446655440000")


@pytest.fixture
def operations(monkeypatch):
    """Replace the streaming by a list of what would have been streamed."""
    streamed = []

    async def operate(rest, movements, *, rate):
        streamed.append((rest, movements, rate))
        return SURGERY

    monkeypatch.setattr(simulate, "operate", operate)
    return streamed


def test_each_operation_has_a_line(operations, capsys):
    call_command("simulate", surgeries=3, seconds=1.0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{SURGERY} saved: 60 movements in ")


def test_surgeons_have_different_hands(operations):
    call_command("simulate", surgeries=2, seconds=0.5)
    (_, first, _), (_, second, _) = operations
    assert [m.coordinates for m in first] != [m.coordinates for m in second]


def test_the_same_seed_gives_the_same_hands(operations):
    call_command("simulate", seed=5, seconds=0.5)
    call_command("simulate", seed=5, seconds=0.5)
    (_, first, _), (_, second, _) = operations
    assert [m.coordinates for m in first] == [m.coordinates for m in second]


def test_the_rate_decides_how_many_frames_make_a_second(operations):
    call_command("simulate", seconds=2.0, rate=30)
    (_, movements, rate) = operations[0]
    assert len(movements) == 60
    assert rate == 30


def test_address_and_account_are_options(operations):
    call_command("simulate", url="http://10.0.0.1:9000", username="ada", password="x", seconds=0.1)
    rest, _, _ = operations[0]
    assert repr(rest) == "<RestClient ada at http://10.0.0.1:9000>"


@pytest.fixture
def waits(monkeypatch):
    """Return the delays asked for; nobody waits for them."""
    asked = []

    class Impatient(Backoff):
        def delay(self, attempt, *, at_least=0.0):
            asked.append((attempt, at_least))
            return 0

    monkeypatch.setattr(simulate, "BACKOFF", Impatient())
    return asked


def test_for_ever_begins_again_after_failures_and_ends_when_the_login_is_refused(
    monkeypatch, waits, capsys
):
    busy = RequestFailed(503, "later", retry_after=5.0)
    refused = LoginRefused("login of 'ada': no")
    outcomes = [SURGERY, busy, Unreachable("no answer"), SURGERY, NotAllowed(1008), refused]

    async def operate(rest, movements, *, rate):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(simulate, "operate", operate)
    with pytest.raises(CommandError, match="1 of 1 failed"):
        call_command("simulate", forever=True, seconds=0.1)
    captured = capsys.readouterr()
    assert captured.out.count("saved") == 2
    assert captured.err.count("operation failed") == 4
    # It waits longer after each failure in a row, and at least as long as it was told to.
    assert waits == [(0, 5.0), (1, 0.0), (0, 0.0)]
    assert "login of 'ada': no" in captured.err


# --- Devices --------------------------------------------------------------------------------

DEVICES = [
    DeviceItem(1, "Alpha", "TEMP-001", "sensor", "offline"),
    DeviceItem(2, "Gamma", "FLOW-003", "actuator", "offline"),
    DeviceItem(3, "This machine", simulate.THIS_MACHINE, "server", "offline"),
]


class Reporting:
    """Stands for the connected device: it acknowledges everything, unless it is told not to."""

    made: list["Reporting"]
    is_deaf = False

    def __init__(self, url, tokens, *, device_id, on_command):
        self.device_id = device_id
        self.reports = []
        self.made.append(self)

    @property
    def unacknowledged(self):
        return len(self.reports) if self.is_deaf else 0

    def report(self, telemetry):
        self.reports.append(telemetry)

    async def run(self):
        await asyncio.Event().wait()

    async def settled(self):
        if self.is_deaf:
            await asyncio.Event().wait()


@pytest.fixture
def hall(monkeypatch):
    """Replace the connections by a list of what would have been reported."""

    async def devices(self):
        return list(DEVICES)

    Reporting.made = []
    monkeypatch.setattr(simulate, "DeviceClient", Reporting)
    monkeypatch.setattr(simulate.RestClient, "devices", devices)
    monkeypatch.setattr(simulate, "SETTLE_SECONDS", 0.01)
    return Reporting.made


def test_with_devices_alone_nobody_operates(operations, hall):
    call_command("simulate", devices=1, seconds=0.01, interval=0.01)
    assert not operations
    assert len(hall) == 1


def test_this_machine_comes_first_with_real_values(hall):
    call_command("simulate", devices=2, seconds=0.01, interval=0.01)
    assert [device.device_id for device in hall] == [3, 1]
    assert "memory_usage" in hall[0].reports[0]
    assert "temperature" in hall[1].reports[0]


def test_a_device_reports_at_its_interval(hall):
    call_command("simulate", devices=1, seconds=0.5, interval=0.1)
    # A busy machine may be late with some of them, and never early.
    assert 2 <= len(hall[0].reports) <= 6


def test_too_few_devices_are_told(hall, capsys):
    call_command("simulate", devices=9, seconds=0.01, interval=0.01)
    assert "there are 3 devices" in capsys.readouterr().err


def test_a_device_that_was_not_answered_has_failed(hall, monkeypatch):
    monkeypatch.setattr(Reporting, "is_deaf", True)
    with pytest.raises(CommandError, match="1 of 1 failed"):
        call_command("simulate", devices=1, seconds=0.01, interval=0.01)


def test_a_server_that_is_not_there_yet_is_waited_for(hall, monkeypatch):
    answers = [Unreachable("GET /devices/: ConnectError"), list(DEVICES)]

    async def devices(self):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(simulate.RestClient, "devices", devices)
    monkeypatch.setattr(simulate, "BACKOFF", Backoff(first_seconds=0.0, most_seconds=0.0))
    call_command("simulate", devices=1, seconds=0.01, interval=0.01)
    assert len(hall) == 1


def test_who_may_not_see_devices_is_told(hall, monkeypatch, capsys):
    async def devices(self):
        raise RequestFailed(403, "Your role does not allow this")

    monkeypatch.setattr(simulate.RestClient, "devices", devices)
    with pytest.raises(CommandError):
        call_command("simulate", devices=1, seconds=0.01)
    assert "Your role does not allow this" in capsys.readouterr().err
