"""One core for the server, another for the load, so that neither takes from the other."""

import os
from collections.abc import Callable

SERVER, LOAD = 0, 1


def pinned_to(number: int) -> Callable[[], None]:
    """Return what a child process calls to stay on one core, where there are several."""
    cores = sorted(os.sched_getaffinity(0))

    def pin() -> None:
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[number]})

    return pin
