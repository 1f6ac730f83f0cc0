"""Memory that a client which subscribes and never reads costs the server."""

import json

from bench.env import OUR_SETTINGS, OURS, Environment
from bench.row import Row
from bench.script import write_script

SURGEONS = 10
STALLED = 20
SUBSCRIBE = json.dumps({"type": "Subscribe", "data": {"topics": ["surgeries.*"]}})
MOST_KIB = 1024
# Half of it before the stalled ones come. Shorter than the time after which they are ended.
SECONDS = 40


def measure(env: Environment) -> list[Row]:
    """Growth of the server's peak memory under the same flood, for each stalled subscriber."""
    cost = -env.best(lambda: -_run(env), float) / 1024
    return [
        Row(
            name=f"memory of a stalled subscriber, of {STALLED}; {SURGEONS} surgeons flood",
            ours=cost,
            baseline=None,
            ratio=None,
            target=f"≤ {MOST_KIB:,} KiB",
            unit="KiB",
            ok=cost <= MOST_KIB,
        )
    ]


def _run(env: Environment) -> float:
    with env.prepared() as database, env.server(OURS, database, OUR_SETTINGS) as server:
        result = env.load(
            "stall",
            server,
            seconds=SECONDS,
            speakers=SURGEONS,
            speak_path="/ws/simulation",
            speak_tokens=env.tokens("surgeons"),
            frames=write_script(env.folder),
            listeners=STALLED,
            listen_path="/ws/pubsub",
            listen_tokens=env.tokens("operator"),
            subscribe=SUBSCRIBE,
        )
        return result["bytes_per_listener"]
