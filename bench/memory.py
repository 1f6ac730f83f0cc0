"""Memory of an idle authenticated connection, beside one of a daphne that only accepts."""

from bench.env import BARE, OUR_SETTINGS, OURS, Environment, Server
from bench.row import Row

CONNECTIONS = 1000
# The first connections pay for what a server loads or grows once.
WARM = 100
SETTLE_SECONDS = 3
MOST_RATIO = 1.5


def measure(env: Environment) -> list[Row]:
    """The slope of resident memory between 100 and 1,100 connections."""
    ours = -env.best(lambda: -_ours(env), float)
    bare = -env.best(lambda: -_bare(env), float)
    return [
        Row(
            name=f"memory of an idle connection, of {CONNECTIONS:,}",
            ours=ours / 1024,
            baseline=bare / 1024,
            ratio=ours / bare,
            target=f"≤ {MOST_RATIO}x bare daphne",
            unit="KiB",
            ok=ours / bare <= MOST_RATIO,
        )
    ]


def _ours(env: Environment) -> float:
    with env.prepared() as database, env.server(OURS, database, OUR_SETTINGS) as server:
        return _bytes_each(env, server, listen_tokens=env.tokens("surgeons"))


def _bare(env: Environment) -> float:
    with env.server(BARE) as server:
        return _bytes_each(env, server)


def _bytes_each(env: Environment, server: Server, **options: object) -> float:
    result = env.load(
        "idle",
        server,
        listeners=CONNECTIONS,
        warm=WARM,
        seconds=SETTLE_SECONDS,
        listen_path="/ws/simulation",
        **options,
    )
    if result["closed"]:
        raise RuntimeError(f"{result['closed']} idle connections were closed")
    return result["bytes_per_connection"]
