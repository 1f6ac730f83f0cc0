"""What one process of many does for all: devices that fell silent, commands that expired, and
what is too old to keep. Which one it is, a lease says.
"""

from datetime import datetime, timedelta
from typing import Final

from django.conf import settings

from accounts import services as accounts
from devices import retention
from devices.services import commands, devices
from realtime import files, journal, mailbox, messagelog, nodes, publisher
from realtime.presence import rows as presence

WATCH_SECONDS: Final = 1.0
PRUNE_SECONDS: Final = 3600.0
# How much longer than its sender wished a message is kept.
FORGET_SECONDS: Final = 30.0
# Processes keep when their devices were last seen every two seconds, a little late under load.
# Who is asked about a device must not take that for silence.
NOT_KEPT_YET: Final = timedelta(seconds=3)

WATCH_LEASE: Final = "devices"
PRUNE_LEASE: Final = "prune"
FORGET_LEASE: Final = "forget"


def watch_devices(node_id: str, *, now: datetime) -> None:
    """Set devices offline that were silent for too long, end commands that nobody fetched."""
    if not nodes.hold_lease(WATCH_LEASE, node_id, seconds=WATCH_SECONDS * 5, now=now):
        return
    silence = timedelta(seconds=settings.DEVICE_SILENCE_SECONDS)
    for device_id in devices.find_silent(now=now - NOT_KEPT_YET, default_silence=silence):
        devices.mark_silent(device_id, now=now, default_silence=silence)
    commands.expire_commands(now=now)


def prune_in_turn(node_id: str, *, now: datetime) -> None:
    """Prune, if it is this process's turn."""
    if nodes.hold_lease(PRUNE_LEASE, node_id, seconds=PRUNE_SECONDS * 1.5, now=now):
        prune(now=now)


def forget_in_turn(node_id: str, *, now: datetime) -> None:
    """Forget what has expired, if it is this process's turn."""
    if nodes.hold_lease(FORGET_LEASE, node_id, seconds=FORGET_SECONDS * 1.5, now=now):
        journal.forget_expired(now=now)


def prune(*, now: datetime) -> dict[str, int]:
    """Delete what is too old, in short transactions; return how many of what."""
    pruned = retention.prune(
        now=now,
        keep_readings=timedelta(days=settings.READING_DAYS),
        keep_rollups=timedelta(days=settings.ROLLUP_DAYS),
    )
    journal.forget_expired(now=now)
    events = journal.prune(now - timedelta(days=settings.JOURNAL_DAYS))
    queued = mailbox.prune(now=now)
    publications = publisher.prune(now=now)
    accounts.prune(now=now)
    messagelog.prune(now=now)
    presence.prune()
    files.sweep(now=now)
    return {
        "readings": pruned.readings,
        "roll-ups": pruned.rollups,
        "events": events,
        "queued messages": queued,
        "publications": publications,
    }
