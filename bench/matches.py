"""Matches events against the patterns of a hub, as every delivery does.

Run as `python -m bench.matches PATTERNS EVENTS`; prints JSON in microseconds an event. Each
event is of a topic that was not seen before, so that nothing is remembered of it.
"""

import json
import sys
import time
import uuid
from datetime import UTC, datetime

import django

django.setup()

import msgspec  # noqa: E402

from realtime.cohorts import Cohort  # noqa: E402
from realtime.core.events import Published  # noqa: E402
from realtime.core.filters import EVERYTHING, Scope  # noqa: E402
from realtime.dialects.pubsub.schema import PubsubDialect  # noqa: E402
from realtime.hub import Hub  # noqa: E402

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHAPES = ("chat.room{}.*", "chat.*.topic{}", "chat.room{}.**", "chat.room{}.topic1", "chat.*.*.u{}")
SENDER = uuid.UUID(int=1)


def hub_with(count: int) -> Hub:
    """Return a hub with so many distinct patterns of one root, in all shapes there are."""
    hub, scope, dialect = Hub(), Scope(("chat.**",)), PubsubDialect()
    for number in range(count):
        pattern = SHAPES[number % len(SHAPES)].format(number)
        cohort = hub._cohort_for(dialect, pattern, EVERYTHING, scope)
        assert isinstance(cohort, Cohort)
    return hub


def events(count: int) -> list[Published]:
    """Return events of topics with four segments, all different."""
    return [
        Published(
            id=str(number),
            at=NOW,
            to=f"chat.room{number}.topic{number}.u{number}",
            sender="ana",
            sender_id=SENDER,
            name="Broadcast",
            payload=msgspec.Raw(b"1"),
        )
        for number in range(count)
    ]


def main(patterns: int, count: int) -> None:
    """Measure and print the mean; some of the events must be heard."""
    hub, made = hub_with(patterns), events(count)
    began = time.perf_counter()
    heard = sum(len(hub._listening(event)) for event in made)
    took = time.perf_counter() - began
    if not heard:
        raise RuntimeError("no event was heard by anybody")
    print(json.dumps({"mean": took / count * 1e6}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
