"""What it costs to find who hears an event, with ten thousand patterns subscribed."""

import json

from bench.env import OUR_SETTINGS, Environment
from bench.row import Row

PATTERNS = 10_000
EVENTS = 50_000
MOST_US = 50


def measure(env: Environment) -> list[Row]:
    """The mean over many topics, in the best run; beside it the same with ten patterns."""
    ours = -env.best(lambda: -_run(env, PATTERNS), float)
    few = -env.best(lambda: -_run(env, 10), float)
    return [
        Row(
            name=f"matching an event against {PATTERNS:,} patterns; baseline: 10 patterns",
            ours=ours,
            baseline=few,
            ratio=ours / few,
            target=f"≤ {MOST_US} µs",
            unit="µs",
            ok=ours <= MOST_US,
        )
    ]


def _run(env: Environment, patterns: int) -> float:
    with env.database() as database:
        printed = env.python(
            database, OUR_SETTINGS, "-m", "bench.matches", str(patterns), str(EVENTS)
        )
    return float(json.loads(printed)["mean"])
