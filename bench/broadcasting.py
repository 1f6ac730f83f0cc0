"""Broadcasts, each committed before its Ack: how many, how soon, beside Socket.IO and a commit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from bench.env import OUR_SETTINGS, OURS, Environment
from bench.fanout import (
    IN_FLIGHT,
    NO_LIMITS,
    SUBSCRIBERS,
    Contestant,
    pinned,
    rate_row,
    take_turns,
)
from bench.peers import socketio
from bench.row import Row

SPEAKERS = 8
ASKED = 1_000
COMMITS = 400
MOST_COMMITS = 3
ALLOWANCE_US = 2_000

TOPIC = "chat.general"
PATH = "/ws/pubsub"
SUBSCRIBE = json.dumps({"type": "Subscribe", "data": {"topics": [TOPIC]}})
# The time that the load generator reads is the value; the same payload as the peer's.
BROADCAST = (
    f'{{"type":"Broadcast","id":"m@","data":{{"topic":"{TOPIC}",'
    '"payload":{"value":@,"message":"Hello everyone!","sender":"user123"}}}'
)


def measure(env: Environment) -> list[Row]:
    """The rate beside Socket.IO, which stores nothing; the Ack beside the database's commit."""
    return [_rate(env), _ack(env)]


@contextmanager
def _ours(env: Environment) -> Iterator[Contestant]:
    with pinned(env) as server:
        load = {
            "speak_path": PATH,
            "speak_tokens": env.tokens("operator"),
            "listen_path": PATH,
            "listen_tokens": env.tokens("operator"),
            "subscribe": SUBSCRIBE,
            "message": BROADCAST,
        }
        yield Contestant(server, load)


@contextmanager
def _socketio(env: Environment) -> Iterator[Contestant | None]:
    with env.socketio() as server:
        if server is None:
            yield None
            return
        load = {
            "speak_path": socketio.PATH,
            "speak_first": socketio.SPEAK,
            "listen_path": socketio.PATH,
            "subscribe": socketio.LISTEN,
            "message": socketio.SAY,
        }
        yield Contestant(server, load)


def _rate(env: Environment) -> Row:
    options = {"speakers": SPEAKERS, "in_flight": IN_FLIGHT}
    runs = take_turns(env, _ours, _socketio, options)
    name = f"broadcasts to {SUBSCRIBERS} subscribers, stored; baseline: Socket.IO"
    return rate_row(name, *runs, least=1, absent=socketio.HOW_TO_GET)


def _ack(env: Environment) -> Row:
    """One publisher, one after the other, in the run whose p50 was best."""
    answered, commit = env.best(lambda: _ask(env), lambda run: -run[0])
    return Row(
        name="Broadcast to Ack, p50; baseline: a commit",
        ours=answered / 1000,
        baseline=commit / 1000,
        ratio=answered / commit,
        target=f"≤ {MOST_COMMITS} commits + {ALLOWANCE_US // 1000} ms",
        unit="ms",
        ok=answered <= MOST_COMMITS * commit + ALLOWANCE_US,
    )


def _ask(env: Environment) -> tuple[float, float]:
    with (
        env.prepared() as database,
        env.server(OURS, database, OUR_SETTINGS, **NO_LIMITS) as server,
    ):
        result = env.load(
            "ask",
            server,
            operations=ASKED,
            speak_path=PATH,
            speak_tokens=env.tokens("operator"),
            message=BROADCAST,
            drain_seconds=10,
        )
        commits = env.python(database, OUR_SETTINGS, "-m", "bench.commits", str(COMMITS))
        return float(result["answered"]["p50"]), float(json.loads(commits)["p50"])
