"""What one process of many does for all."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import call_command

from accounts.models import User
from devices.models import Command, Device, Reading, Rollup
from devices.services.commands import queue_command
from devices.services.devices import mark_alive, note_seen
from devices.tests.builders import NOW, a_device
from devices.tests.reports import store_values
from realtime.core.events import encode
from realtime.models import JournalEntry
from realtime.tests.message_events import published
from realtime.watch import NOT_KEPT_YET, forget_in_turn, prune, prune_in_turn, watch_devices

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
SILENCE = timedelta(seconds=settings.DEVICE_SILENCE_SECONDS)


@pytest.fixture
def device(db: None) -> Device:
    """Return a device that was last heard of at NOW."""
    device = a_device(now=NOW - SILENCE)
    mark_alive(device.pk, now=NOW)
    return device


def status_of(device: Device) -> str:
    device.refresh_from_db()
    return device.status


def test_a_silent_device_goes_offline_with_a_reason(device: Device) -> None:
    watch_devices("a", now=NOW + SILENCE)
    assert status_of(device) == "online", "what was seen may not be kept yet"
    watch_devices("a", now=NOW + SILENCE + NOT_KEPT_YET)
    assert status_of(device) == "offline"
    assert device.status_reason.startswith("no sign of life for 12")
    assert device.status_since == NOW + SILENCE + NOT_KEPT_YET


def test_a_device_that_is_heard_stays_online(device: Device) -> None:
    note_seen({device.pk: NOW + SILENCE})
    watch_devices("a", now=NOW + SILENCE + NOT_KEPT_YET)
    assert status_of(device) == "online"


def test_a_command_that_nobody_fetched_expires(device: Device) -> None:
    command = queue_command(
        device.pk, command="restart", parameters={}, by=None, now=NOW, seconds=60
    )
    watch_devices("a", now=NOW + timedelta(seconds=61))
    command.refresh_from_db()
    assert command.status == Command.Status.EXPIRED


def test_one_process_watches_until_it_is_gone(device: Device) -> None:
    late = NOW + SILENCE + NOT_KEPT_YET
    watch_devices("a", now=late - SECOND)
    watch_devices("b", now=late)
    assert status_of(device) == "online"
    watch_devices("b", now=late + timedelta(minutes=1))
    assert status_of(device) == "offline"


def test_one_process_prunes(device: Device) -> None:
    old = NOW - timedelta(days=settings.READING_DAYS + 1)
    store_values(device, [1, 2, 3], every=SECOND, at=old)
    prune_in_turn("a", now=old)
    prune_in_turn("b", now=old + SECOND)
    assert Reading.objects.count() == 3
    prune_in_turn("a", now=NOW)
    assert Reading.objects.count() == 1
    assert Rollup.objects.get().count == 2


def test_pruning_tells_how_much_of_what(device: Device) -> None:
    old = NOW - timedelta(days=settings.ROLLUP_DAYS + 1)
    store_values(device, [1, 2, 3], every=SECOND, at=old)
    assert prune(now=NOW) == {
        "readings": 2,
        "roll-ups": 1,
        "events": 0,
        "queued messages": 0,
        "publications": 0,
    }


def test_the_command_prunes(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("prune")
    out = capsys.readouterr().out
    assert "0 readings deleted" in out
    assert "roll-ups deleted" in out
    assert not User.objects.exists()


def test_one_process_forgets_what_has_expired(db: None) -> None:
    JournalEntry.objects.create(
        position=1,
        event_id="p",
        topic="chat.general",
        kind="Published",
        payload=encode(published("p", expires_at=NOW)),
        created_at=NOW,
        expires_at=NOW,
    )
    forget_in_turn("a", now=NOW - SECOND)
    forget_in_turn("b", now=NOW)
    assert JournalEntry.objects.get().kind == "Published"
    forget_in_turn("a", now=NOW)
    assert JournalEntry.objects.get().kind == "Forgotten"
