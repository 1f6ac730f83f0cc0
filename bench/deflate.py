"""One device's report to many who take it compressed: compressed once, or once for each.

The peers compress for each client, and store nothing: daphne by autobahn's own extension, the
`websockets` library by its `broadcast`, and our own server made to do so, with the cheap settings
of zlib that it has. Each figure is the best of its runs; ours and the peer's take turns.
"""

import json
import zlib
from contextlib import contextmanager
from typing import Any

from bench.env import Environment
from bench.fanout import (
    IN_FLIGHT,
    SUBSCRIBERS,
    TIME,
    VALUE,
    Contestant,
    Open,
    rate_row,
    take_turns,
    telemetry,
)
from bench.row import Row

AUTOBAHN = "bench.peers.daphne_each:application"
EACH = "bench.peers.packing_each:application"
LIBRARY = "bench.peers.websockets_each"
LEAST = 10
LEAST_OF_LIBRARY = 5
LEAST_OF_OWN = 2
TAIL = b"\x00\x00\xff\xff"

# Six metrics with names as long as they may be: 1.2 KB for whoever hears them. More metrics would
# measure how they are stored.
NAMES = [
    f"{side}_anterior_descending_coronary_artery_{what}_at_the_tip_of_the_catheter_each_heart_beat"
    for side in ("left", "right")
    for what in ("systole", "diastole", "mean_flow")
]
REPORTED = ",".join(f'"{name}":{{{VALUE}}}' for name in NAMES)
TOLD = ",".join(f'"{name}":{{{VALUE},{TIME}}}' for name in NAMES)
REPORT = f'{{"type":"telemetry","id":"@","device_id":1,"telemetry":{{{REPORTED}}}}}'
UPDATE = f'{{"type":"telemetry_update","channel":"telemetry","device_id":1,"telemetry":{{{TOLD}}}}}'
PEER = {"message": UPDATE}


def measure(env: Environment) -> list[Row]:
    return [
        _rates(env, "daphne, autobahn compressing for each", _ours, _autobahn, least=LEAST),
        _rates(env, "websockets.broadcast", _ours, _library, least=LEAST_OF_LIBRARY),
        _rates(
            env, "websockets.broadcast; uvicorn", _ours_on_uvicorn, _library, least=LEAST_OF_LIBRARY
        ),
        _rates(env, "our server compressing for each", _ours, _each, least=LEAST_OF_OWN),
    ]


# --- Contestants ---


def _ours(env: Environment) -> Any:
    return telemetry(env, message=REPORT)


def _ours_on_uvicorn(env: Environment) -> Any:
    return telemetry(env, kind="uvicorn", message=REPORT)


def _each(env: Environment) -> Any:
    return telemetry(env, application=EACH, message=REPORT)


@contextmanager
def _autobahn(env: Environment) -> Any:
    with env.server(AUTOBAHN, is_pinned=True) as server:
        yield Contestant(server, PEER)


@contextmanager
def _library(env: Environment) -> Any:
    with env.script(LIBRARY) as server:
        yield Contestant(server, PEER)


# --- Figures ---


def _check(data: bytes) -> None:
    """The load generator does not look into what it counts: unpack one of them."""
    text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data + TAIL)
    if set(json.loads(text)["telemetry"]) != set(NAMES) or len(data) > len(text) / 2:
        raise RuntimeError(f"not the message that was sent, or hardly compressed: {text!r}")


def _rates(env: Environment, baseline: str, ours: Open, peer: Open, *, least: float) -> Row:
    mine, others = take_turns(env, ours, peer, {"in_flight": IN_FLIGHT, "deflate": 1})
    for run in (*mine, *others):
        _check(bytes.fromhex(run["sample"]))
    name = f"compressed fan-out to {SUBSCRIBERS:,} subscribers; baseline: {baseline}"
    return rate_row(name, mine, others, least=least, absent="")
