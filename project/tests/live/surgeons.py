"""What a surgeon's client sends, and accounts for tests that share one database."""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from django.db import transaction

from accounts.models import Role, User
from devices.models import Surgery, TrajectoryChunk
from project.tests.live.raw import CLOSE_FRAME, Ending

SAVED_PREFIX = b'{"status":"SAVED", "surgeryId":"'
SAVED_SUFFIX = b'"}'
_numbers = itertools.count(1)


def movement(event: str = "NONE", **changes: Any) -> dict[str, Any]:
    """Return one frame as the document shows it; `timestamp` is now unless given."""
    frame = {
        "coordinates": [10.5, 20.3, 15.7],
        "event": event,
        "timestamp": time.time_ns() // 1_000_000,
    }
    return {**frame, **changes}


def new_surgeon(role: str = "ROLE_SURGEON", *, is_active: bool = True) -> str:
    """Create an account of the test's own and return its username."""
    username = f"live {role} {next(_numbers)} {uuid.uuid4().hex[:6]}"
    User.objects.create(username=username, role=Role.objects.get(name=role), is_active=is_active)
    return username


def saved_id(answer: bytes) -> uuid.UUID:
    """Return the surgery of a SAVED answer, which must be right to the byte."""
    assert answer.startswith(SAVED_PREFIX), answer
    assert answer.endswith(SAVED_SUFFIX), answer
    return uuid.UUID(answer[len(SAVED_PREFIX) : -len(SAVED_SUFFIX)].decode())


def stored(surgery_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return the frames of an operation, in order, as the database has them."""
    chunks = TrajectoryChunk.objects.filter(surgery_id=surgery_id).order_by("seq")
    return [frame for chunk in chunks for frame in msgspec.json.decode(bytes(chunk.payload))]


def status_of(surgery_id: uuid.UUID | str) -> str:
    """Return the status of an operation as the database has it now."""
    return Surgery.objects.values_list("status", flat=True).get(pk=surgery_id)


@contextmanager
def held(surgery_id: uuid.UUID | str) -> Iterator[None]:
    """Keep the server from writing this operation; on SQLite, from writing anything."""
    with transaction.atomic():
        Surgery.objects.select_for_update().get(pk=surgery_id)
        yield


def assert_refused(ending: Ending, code: int) -> None:
    """Assert a close frame with this code and a reason that helps and betrays nothing."""
    assert (ending.by, ending.code) == (CLOSE_FRAME, code), ending
    assert 0 < len(ending.reason.encode()) <= 123
    assert "eyJ" not in ending.reason


def eventually(holds: Callable[[], Any], *, within: float = 10.0) -> Any:
    """Return what `holds` returns once that is true; the server works while we look."""
    deadline = time.monotonic() + within
    while not (value := holds()):
        assert time.monotonic() < deadline, f"did not come true within {within} s"
        time.sleep(0.02)
    return value
