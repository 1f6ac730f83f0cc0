"""What something costs on average, in a process of its own, beside the same with little."""

import json

from bench.env import OUR_SETTINGS, Environment
from bench.row import Row

FEW = 10


def beside_few(
    env: Environment, module: str, *, many: int, times: int, most_us: float, what: str, of: str
) -> Row:
    """Return the best mean of `python -m MODULE COUNT TIMES` with `many`, beside that with `FEW`.

    `module` prints JSON with the mean in microseconds.
    """
    ours, few = (
        -env.best(lambda count=count: -_mean(env, module, count, times), float)
        for count in (many, FEW)
    )
    return Row(
        name=f"{what} {many:,} {of}; baseline: {FEW} {of.split()[0]}",
        ours=ours,
        baseline=few,
        ratio=ours / few,
        target=f"≤ {most_us} µs",
        unit="µs",
        ok=ours <= most_us,
    )


def _mean(env: Environment, module: str, count: int, times: int) -> float:
    with env.database() as database:
        printed = env.python(database, OUR_SETTINGS, "-m", module, str(count), str(times))
    return float(json.loads(printed)["mean"])
