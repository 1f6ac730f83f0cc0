"""How passwords are hashed: each with little memory, and few at a time.

Whoever may try a password makes us hash, without an account. A hash is meant to cost memory, so
what all of them cost together is bounded here, and nobody waits long for a turn.
"""

from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TypeVar

from django.contrib.auth.hashers import Argon2PasswordHasher

from realtime.core.errors import Unavailable

T = TypeVar("T")

HASHES_AT_ONCE = 2
# A hash takes about 25 ms: who has not had a turn by then stands behind some two hundred others.
TURN_SECONDS = 3.0

# Threads of their own rather than a semaphore: glibc keeps what a hash used for the thread that
# used it, and every request has another thread.
_turns = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="hash")


class TooManyHashes(Unavailable):
    """Raised when so many passwords are to be hashed that this one would wait too long."""


class ThriftyArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id with 19 MiB instead of Django's 100.

    Source: OWASP Password Storage Cheat Sheet, "Argon2id". Raises TooManyHashes.
    """

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        return _in_turn(super().encode, password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        return _in_turn(super().verify, password, encoded)


def _in_turn(work: Callable[..., T], *args: str) -> T:
    """Run `work` when it is its turn; raise TooManyHashes if that is not soon."""
    turn = _turns.submit(work, *args)
    try:
        return turn.result(timeout=TURN_SECONDS)
    except (TimeoutError, CancelledError):
        # One that has begun goes on, and ends soon; nobody waits for it.
        turn.cancel()
        raise TooManyHashes("too many passwords are checked at once: try again soon") from None
