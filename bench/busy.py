"""Live delivery while a request computes: its p99 beside the quiet one."""

import json
import threading
from http.client import HTTPConnection

from bench.env import OUR_SETTINGS, OURS, Environment, Server
from bench.row import Row, beside_quiet

SURGEONS = 20
WATCHERS = 5
# A chunk is full before its quarter of a second is over, and leaves with its newest movement:
# at a lower rate the waiting for a chunk would hide the delivery.
RATE = 300
SUBSCRIBE = json.dumps({"type": "Subscribe", "data": {"topics": ["surgeries.*"]}})
COMPUTE_SECONDS = 10
MOST_RATIO = 5


def measure(env: Environment) -> list[Row]:
    """Age of movements when they reach subscribers: the best quiet p99, the best busy one."""
    runs = [_run(env) for _ in range(env.best_of)]
    name = f"live delivery p99 while a request computes {COMPUTE_SECONDS} s"
    return [beside_quiet(name, runs, most=MOST_RATIO)]


def _run(env: Environment) -> tuple[float, float]:
    with env.prepared() as database, env.server(OURS, database, OUR_SETTINGS) as server:
        # The first request starts the child process; that is not what is measured.
        _compute(server, 0)
        quiet = _p99(env, server)
        request = threading.Thread(target=_compute, args=(server, COMPUTE_SECONDS))
        request.start()
        busy = _p99(env, server)
        request.join()
        return quiet, busy


def _p99(env: Environment, server: Server) -> float:
    result = env.load(
        "deliver",
        server,
        # The load generator warms up for a second: both end together.
        seconds=COMPUTE_SECONDS - 1,
        rate=RATE,
        speakers=SURGEONS,
        speak_path="/ws/simulation",
        speak_tokens=env.tokens("surgeons"),
        listeners=WATCHERS,
        listen_path="/ws/pubsub",
        listen_tokens=env.tokens("operator"),
        subscribe=SUBSCRIBE,
    )
    return result["age"]["p99"]


def _compute(server: Server, seconds: int) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", f"/bench/compute/{seconds}")
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"the computing request was answered with {response.status}")
