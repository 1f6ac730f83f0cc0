"""kill -9 of a process that writes: what was told to be safe is there, and the chain holds."""

import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from uuid import UUID

import pytest
from django.db import connection

from accounts.models import User
from devices.models import Device, Reading, Surgery
from devices.services.surgeries import claim_surgery, take_surgery
from devices.tests.builders import NOW, chunks_after, start, store
from devices.verification import verify

pytestmark = pytest.mark.django_db(transaction=True)

# Each after another number of answers, so that the blow falls at another point of the cycle.
BLOWS = 3
ANSWERS_MAX = 200


def database_url() -> str:
    """Return this test's database as another process would be told of it."""
    about = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{about['NAME']}"
    who = ":".join(filter(None, (about["USER"], about["PASSWORD"])))
    where = ":".join(filter(None, (about["HOST"], str(about["PORT"]))))
    return f"postgres://{who}@{where}/{about['NAME']}"


def write_and_kill(module: str, arguments: list[str], answers: int) -> list[str]:
    """Let a process write until `answers` were given, kill it; return what was told to be safe."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "DATABASE_URL": database_url(),
            "DJANGO_SETTINGS_MODULE": "project.settings",
        },
    )
    assert process.stdout is not None
    safe: list[str] = []
    with process:
        for number, line in enumerate(process.stdout):
            if not line.endswith("\n"):  # killed in the middle of a word
                break
            safe.append(line)
            if number == answers:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return safe


def record_and_kill(surgeries: list[UUID], answers: int) -> dict[UUID, int]:
    """Record until `answers` were given, kill; return the last number told to be safe."""
    safe: dict[UUID, int] = defaultdict(lambda: -1)
    for line in write_and_kill("devices.tests.recorder", list(map(str, surgeries)), answers):
        surgery_id, seq = line.split()
        safe[UUID(surgery_id)] = int(seq)
    return safe


def test_a_killed_process_leaves_a_chain_that_holds_and_goes_on(surgeon: User) -> None:
    chance = random.Random(20260305)
    for _ in range(BLOWS):
        surgeries = [start(surgeon).surgery_id for _ in range(3)]
        safe = record_and_kill(surgeries, chance.randrange(ANSWERS_MAX))
        assert safe
        for surgery in Surgery.objects.filter(id__in=surgeries):
            proof = verify(surgery)
            assert proof.holds
            assert proof.chunks > safe[surgery.id]
            claim = claim_surgery(surgery_id=surgery.id, surgeon_id=surgeon.pk, now=NOW).claim
            recording = take_surgery(
                surgery_id=surgery.id, claim=claim, node="next", force=True, now=NOW
            )
            assert recording is not None
            assert (recording.chunks, recording.movements) == (proof.chunks, proof.movements)
            store(chunks_after(recording, [2]))
            assert verify(surgery).movements == proof.movements + 2


def test_a_killed_process_leaves_every_reading_that_it_acknowledged(device: Device) -> None:
    chance = random.Random(20260305)
    for _ in range(BLOWS):
        lines = write_and_kill("devices.tests.reporter", [str(device.pk)], chance.randrange(500))
        safe = {float(line) for line in lines}
        assert safe
        readings = Reading.objects.filter(series__device=device)
        stored = list(readings.values_list("value", flat=True))
        assert safe <= set(stored)
        assert len(stored) == len(set(stored)), "each once, though the first ones came again"
