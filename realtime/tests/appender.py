"""A process that appends to the journal until it is killed; run by `test_journal.py`.

Prints the id of every event whose transaction has committed. Called with a third argument,
it kills itself: `before_numbering`, when its first transaction has committed, or
`in_numbering`, when the positions are written but not committed.
"""

import os
import random
import signal
import sys

import django

django.setup()

from django.db import transaction  # noqa: E402

from realtime import journal  # noqa: E402
from realtime.tests.doubles import started  # noqa: E402

TRANSACTIONS = 100_000


def append_forever(name: str, chance: random.Random) -> None:
    for number in range(TRANSACTIONS):
        ids = [f"{name}-{number}-{part}" for part in range(chance.randint(1, 3))]
        with transaction.atomic():
            for id_ in ids:
                journal.append(started(id_))
        print(*ids, sep="\n", flush=True)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    name, moment = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    if moment == "before_numbering":
        journal.number_committed = die  # type: ignore[assignment]
    elif moment == "in_numbering":
        journal.JournalHead.save = die  # type: ignore[method-assign]
    append_forever(name, random.Random(name))
