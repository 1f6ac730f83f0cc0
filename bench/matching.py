"""What it costs to find who hears an event, with ten thousand patterns subscribed."""

from bench.env import Environment
from bench.means import beside_few
from bench.row import Row


def measure(env: Environment) -> list[Row]:
    """The mean over many topics, in the best run; beside it the same with ten patterns."""
    return [
        beside_few(
            env,
            "bench.matches",
            many=10_000,
            times=50_000,
            most_us=50,
            what="matching an event against",
            of="patterns",
        )
    ]
