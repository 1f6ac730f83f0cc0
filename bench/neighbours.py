"""The latency of those who read beside one who does not, and beside the same one while it reads.

It stops and reads again in turn, and the connections stay the same: what else slows the machine
comes over both. What it missed it must be told, each event or its gap.
"""

import json

from bench.env import OUR_SETTINGS, OURS, Environment
from bench.fanout import NO_LIMITS, RATE, REPORT, SUBSCRIBERS
from bench.row import Row, beside_quiet

ROUNDS = 6
# Of each turn: 400 events. All readers get an event at about the same time, so it takes hundreds
# of events, not of deliveries, for a p99.
SECONDS = 4
MOST_RATIO = 1.2

# What the one asks until the server reads it no more: long answers, so that what is on the way
# to it is soon full, and long questions, so that few are left to be answered afterwards.
PINGS = [{"type": "ping"}] * 50
ASK = json.dumps({"type": "batch", "messages": PINGS}) + " " * 8_000


def measure(env: Environment) -> list[Row]:
    """The best p99 of the readers' turns beside the stalled one, the best beside the reading."""
    return [
        beside_quiet(
            f"p99 of {SUBSCRIBERS} readers beside one that stopped, {kind}; baseline: it reads",
            _turns(env, kind),
            most=MOST_RATIO,
        )
        for kind in ("daphne", "uvicorn")
    ]


def _turns(env: Environment, kind: str) -> list[tuple[float, float]]:
    """Return the p99s of each round: while it read, while it did not."""
    options = {"kind": kind, "is_pinned": True, **NO_LIMITS}
    with (
        env.prepared() as database,
        env.server(OURS, database, OUR_SETTINGS, **options) as server,
    ):
        result = env.load(
            "beside",
            server,
            is_pinned=True,
            seconds=SECONDS,
            rounds=ROUNDS,
            rate=RATE / SUBSCRIBERS,
            message=REPORT,
            ask=ASK,
            speakers=1,
            speak_path="/ws/device",
            speak_tokens=env.tokens("device"),
            listeners=SUBSCRIBERS,
            listen_path="/ws/telemetry",
            listen_tokens=env.tokens("operator"),
            drain_seconds=20,
        )
    return list(zip(result["reading"], result["stalled"], strict=True))
