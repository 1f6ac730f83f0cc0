"""The database's commit time: one locked one-row save through `call`, one at a time.

Run as `python -m bench.commits COUNT` beside an idle server; prints JSON in microseconds.
"""

import asyncio
import json
import sys
import time
import uuid

import django

django.setup()

from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts.models import User  # noqa: E402
from devices.models import Surgery  # noqa: E402
from realtime.calls import call, stop_calls  # noqa: E402


def create_row() -> uuid.UUID:
    """Create the row that is saved over and over."""
    surgeon = User.objects.get(username="surgeon_0")
    return Surgery.objects.create(
        surgeon=surgeon,
        status=Surgery.Status.COMPLETED,
        started_at=timezone.now(),
        analysed_at=timezone.now(),
    ).pk


def save_row(surgery_id: uuid.UUID, number: int) -> None:
    """Lock the row, change it, commit."""
    with transaction.atomic():
        surgery = Surgery.objects.select_for_update().get(pk=surgery_id)
        surgery.notes = str(number)
        surgery.save(update_fields=["notes"])


async def measure(count: int) -> list[float]:
    """Return how long each of `count` commits took, sorted, in microseconds."""
    surgery_id = await call(create_row)
    taken = []
    for number in range(count):
        began = time.perf_counter()
        await call(save_row, surgery_id, number)
        taken.append((time.perf_counter() - began) * 1e6)
    return sorted(taken)


def main(count: int) -> None:
    """Measure and print the percentiles."""
    taken = asyncio.run(measure(count))
    stop_calls()
    print(json.dumps({"p50": taken[count // 2], "p99": taken[count * 99 // 100]}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
