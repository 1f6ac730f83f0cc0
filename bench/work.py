"""Work that never waits: what a heavy request would compute. Importable without Django."""

import time


def count_for(seconds: float) -> int:
    """Return how many rounds of pure Python fit into `seconds`."""
    rounds = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rounds += sum(range(1000)) % 2 + 1
    return rounds
