"""A hundred clients recover ten thousand messages each, at once: what the others notice."""

import json
from typing import Any

from bench.broadcasting import BROADCAST, PATH, SUBSCRIBE
from bench.env import OUR_SETTINGS, OURS, Environment, Server
from bench.fanout import NO_LIMITS
from bench.row import Row

MISSED = 10_000
CLIENTS = 100
# Who was there all along: ten broadcasts a second to each.
OTHERS = 100
RATE = 10
SECONDS = 20
MOST_MS = 100
LATER_TOPIC = "chat.later"


def measure(env: Environment) -> list[Row]:
    """The others' p99 while it goes on, beside the quiet one, in the best run."""
    busy, quiet, took = env.best(lambda: _run(env), lambda run: -run[0])
    return [
        Row(
            name=f"others' p99 while {CLIENTS} clients recover {MISSED:,} messages each "
            f"({took:.1f} s); baseline: quiet",
            ours=busy,
            baseline=quiet,
            ratio=busy / quiet,
            target=f"≤ {MOST_MS} ms",
            unit="ms",
            ok=busy <= MOST_MS,
        )
    ]


def _run(env: Environment) -> tuple[float, float, float]:
    with env.prepared() as database:
        before = env.python(
            database, OUR_SETTINGS, "-m", "bench.missed", LATER_TOPIC, str(MISSED)
        ).strip()
        with env.server(OURS, database, OUR_SETTINGS, **NO_LIMITS) as server:
            quiet = _others(env, server)
            with env.loading("fan", server, **_load(env)) as result:
                took = _recover(env, server, before)
            return result["latency"]["p99"] / 1000, quiet, took


def _load(env: Environment) -> dict[str, Any]:
    return {
        "seconds": SECONDS,
        "rate": RATE,
        "speakers": 1,
        "speak_path": PATH,
        "speak_tokens": env.tokens("operator"),
        "listeners": OTHERS,
        "listen_path": PATH,
        "listen_tokens": env.tokens("operator"),
        "subscribe": SUBSCRIBE,
        "message": BROADCAST,
        "drain_seconds": 30,
    }


def _others(env: Environment, server: Server) -> float:
    result = env.load("fan", server, **{**_load(env), "seconds": SECONDS / 4})
    if result["closed"] or result["missing"]:
        raise RuntimeError(f"not every subscriber got everything: {result}")
    return float(result["latency"]["p99"]) / 1000


def _recover(env: Environment, server: Server, before: str) -> float:
    """Return how long it took until everybody had everything."""
    recover = {"topics": [LATER_TOPIC], "recover": {"position": before}}
    result = env.load(
        "recover",
        server,
        listeners=CLIENTS,
        listen_path=PATH,
        listen_tokens=env.tokens("operator"),
        subscribe=json.dumps({"type": "Subscribe", "data": recover}),
        expect=MISSED,
        drain_seconds=120,
    )
    if result["closed"] or result["missing"]:
        raise RuntimeError(f"not everybody recovered everything: {result}")
    return float(result["took_seconds"])
