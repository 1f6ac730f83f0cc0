"""What it costs to evaluate a reading with ten thousand rules loaded."""

import json

from bench.env import Environment
from bench.row import Row

RULES = 10_000
READINGS = 200_000
MOST_US = 20


def measure(env: Environment) -> list[Row]:
    """The mean over many devices, in the best run; beside it the same with a handful of rules."""
    ours = -env.best(lambda: -_run(env, RULES), float)
    few = -env.best(lambda: -_run(env, 10), float)
    return [
        Row(
            name=f"evaluating a reading, {RULES:,} rules loaded; baseline: 10 rules",
            ours=ours,
            baseline=few,
            ratio=ours / few,
            target=f"≤ {MOST_US} µs",
            unit="µs",
            ok=ours <= MOST_US,
        )
    ]


def _run(env: Environment, rules: int) -> float:
    with env.database() as database:
        printed = env.python(
            database, "bench.settings", "-m", "bench.evaluations", str(rules), str(READINGS)
        )
    return json.loads(printed)["mean"]
