"""What it costs to evaluate a reading with ten thousand rules loaded."""

from bench.env import Environment
from bench.means import beside_few
from bench.row import Row


def measure(env: Environment) -> list[Row]:
    """The mean over many devices, in the best run; beside it the same with a handful of rules."""
    return [
        beside_few(
            env,
            "bench.evaluations",
            many=10_000,
            times=200_000,
            most_us=20,
            what="evaluating a reading,",
            of="rules loaded",
        )
    ]
