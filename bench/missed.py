"""Fills the journal with broadcasts: `python -m bench.missed TOPIC COUNT`.

Prints the position before the first of them.
"""

import sys
import uuid
from datetime import UTC, datetime

import django

django.setup()

import msgspec  # noqa: E402
from django.db import transaction  # noqa: E402

from accounts.models import User  # noqa: E402
from realtime import journal  # noqa: E402
from realtime.core.events import Published  # noqa: E402

AT_ONCE = 500


def main(topic: str, count: int) -> None:
    """Append and number them, some hundreds in a transaction."""
    before = journal.head()
    sender = User.objects.get(username="operator")
    for first in range(0, count, AT_ONCE):
        with transaction.atomic():
            for number in range(first, min(first + AT_ONCE, count)):
                payload = {"value": number, "message": "Hello everyone!", "sender": "user123"}
                journal.append(
                    Published(
                        id=uuid.uuid4().hex,
                        at=datetime.now(UTC),
                        to=topic,
                        sender=sender.username,
                        sender_id=sender.pk,
                        name="Broadcast",
                        payload=msgspec.Raw(msgspec.json.encode(payload)),
                    )
                )
    journal.number_committed()
    print(before)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
