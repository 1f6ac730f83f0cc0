"""`manage.py simulate`: as many surgeons as asked, a line for each operation."""

from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from realtime.client.connection import Backoff
from realtime.client.errors import LoginRefused, NotAllowed, RequestFailed, Unreachable
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
    with pytest.raises(CommandError, match="1 of 1 operations failed"):
        call_command("simulate", forever=True, seconds=0.1)
    captured = capsys.readouterr()
    assert captured.out.count("saved") == 2
    assert captured.err.count("operation failed") == 4
    # It waits longer after each failure in a row, and at least as long as it was told to.
    assert waits == [(0, 5.0), (1, 0.0), (0, 0.0)]
    assert "login of 'ada': no" in captured.err
