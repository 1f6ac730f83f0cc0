"""One device's reading to many subscribers: deliveries per second and their latency.

Beside nchan (nginx, in C) where that is installed, and beside a Channels group. Each figure is
the best of its runs; ours and the peer's take turns. Server and load have a core each.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from bench.env import OUR_SETTINGS, OURS, Environment, Server
from bench.peers import nchan
from bench.row import Row

GROUP_SEND = "bench.peers.group_send:application"
GROUP_SETTINGS = "bench.peers.layer_settings"
SECONDS = 5
IN_FLIGHT = 8
SUBSCRIBERS = 200
RATE = 20_000  # deliveries per second
ALLOWANCE_US = 5_000
LEAST_OF_OWN = 0.7

# A measurement is of what a server can, not of what one client may.
NO_LIMITS = {
    "VITALWIRE_CONNECTIONS_PER_ADDRESS": "0",
    "VITALWIRE_HANDSHAKES_PER_ADDRESS_PER_MINUTE": "0",
    **{
        f"VITALWIRE_{dialect}_{limit}": "0"
        for dialect in ("TELEMETRY", "PUBSUB")
        for limit in (
            "CONNECTIONS_PER_USER",
            "CONNECTIONS_TOTAL",
            "CONNECTIONS_PER_MINUTE",
            "MESSAGES_PER_SECOND",
        )
    },
}

# The time that the load generator reads is the value. What subscribers get is about 180 bytes
# long, from us with the time of arrival; the peers hand on what they are sent.
VALUE = '"value":@,"unit":"°C"'
TIME = '"timestamp":"2026-01-01T12:00:00.123456Z"'
REPORT = f'{{"type":"telemetry","id":"@","device_id":1,"telemetry":{{"temperature":{{{VALUE}}}}}}}'
UPDATE = (
    '{"type":"telemetry_update","channel":"telemetry","device_id":1,'
    f'"telemetry":{{"temperature":{{{VALUE},{TIME}}}}}}}'
)
METRICS = ("temperature", "humidity", "pressure", "voltage")
FOUR = ",".join(f'"{name}":{{{VALUE}}}' for name in METRICS)
REPORT_OF_FOUR = f'{{"type":"telemetry","id":"@","device_id":1,"telemetry":{{{FOUR}}}}}'
ONE_OF_FOUR = '{"type":"subscribe","channel":"telemetry","filters":{"metrics":["humidity"]}}'
SOME_FILTER = {"subscribe_odd": ONE_OF_FOUR}


class Contestant(NamedTuple):
    """A server that fans out, and what the load generator does to it."""

    server: Server
    load: dict[str, Any]


Open = Callable[[Environment], Any]


def measure(env: Environment) -> list[Row]:
    """Every comparison; those with nchan are left open where it is not installed."""
    return [
        _rates(env, "a Channels group, daphne", telemetry, _group_send, least=40),
        _rates(env, "nchan, daphne", telemetry, _nchan, least=1.2),
        _rates(env, "nchan, uvicorn", _on_uvicorn, _nchan, least=2),
        _rates(env, "nchan, daphne", telemetry, _nchan, least=1, subscribers=1_000),
        _rates(env, "nchan, daphne", telemetry, _nchan, least=0.9, subscribers=5_000),
        _filters(env),
        _latency(env),
    ]


# --- Contestants ---


@contextmanager
def pinned(env: Environment, *, kind: str = "daphne", application: str = OURS) -> Iterator[Server]:
    """Yield a server of ours without limits, on a core of its own, with its own database."""
    options: dict[str, Any] = {"kind": kind, "is_pinned": True, **NO_LIMITS}
    with (
        env.prepared() as database,
        env.server(application, database, OUR_SETTINGS, **options) as server,
    ):
        yield server


@contextmanager
def telemetry(
    env: Environment, *, kind: str = "daphne", application: str = OURS, message: str = REPORT
) -> Iterator[Contestant]:
    """Yield ours, with one device that reports to operators."""
    with pinned(env, kind=kind, application=application) as server:
        yield Contestant(
            server,
            {
                "message": message,
                "speak_path": "/ws/device",
                "speak_tokens": env.tokens("device"),
                "listen_path": "/ws/telemetry",
                "listen_tokens": env.tokens("operator"),
            },
        )


def _on_uvicorn(env: Environment) -> Any:
    return telemetry(env, kind="uvicorn")


@contextmanager
def _nchan(env: Environment) -> Iterator[Contestant | None]:
    if not nchan.is_installed():
        yield None
        return
    with env.nchan() as server:
        yield Contestant(server, {"message": UPDATE})


@contextmanager
def _group_send(env: Environment) -> Iterator[Contestant]:
    with env.server(GROUP_SEND, settings=GROUP_SETTINGS, is_pinned=True) as server:
        yield Contestant(server, {"message": UPDATE})


# --- Figures ---


def fan(env: Environment, open_contestant: Open, **options: Any) -> dict[str, Any] | None:
    """Return what one run measured, None for a peer that is not installed.

    `options` of the load generator come before those of the contestant. Whoever did not get
    everything ends it all.
    """
    with open_contestant(env) as contestant:
        if contestant is None:
            return None
        common = {
            "seconds": SECONDS,
            "speakers": 1,
            "speak_path": "/speak",
            "listen_path": "/listen",
            "listeners": SUBSCRIBERS,
            "drain_seconds": 10,
        }
        options = {**common, **contestant.load, **options}
        result = env.load("fan", contestant.server, is_pinned=True, **options)
    if result["closed"] or result["missing"]:
        raise RuntimeError(f"not every subscriber got everything: {result}")
    return result


def take_turns(
    env: Environment,
    one: Open,
    other: Open,
    options: dict[str, Any],
    other_options: dict[str, Any] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the results of both, nothing of a peer that is not installed."""
    results: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(env.best_of):
        results[0].append(fan(env, one, **options))
        results[1].append(fan(env, other, **(other_options or options)))
    return [each for each in results[0] if each], [each for each in results[1] if each]


def _rates(
    env: Environment,
    baseline: str,
    ours: Open,
    peer: Open,
    *,
    least: float,
    subscribers: int = SUBSCRIBERS,
) -> Row:
    runs = take_turns(env, ours, peer, {"listeners": subscribers, "in_flight": IN_FLIGHT})
    name = f"fan-out to {subscribers:,} subscribers; baseline: {baseline}"
    return rate_row(name, *runs, least=least, absent=nchan.HOW_TO_GET)


def rate_row(
    name: str,
    mine: list[dict[str, Any]],
    others: list[dict[str, Any]],
    *,
    least: float,
    absent: str,
) -> Row:
    """Return the best of our runs beside the peer's; `absent` says what to do if it has none."""
    best = max(run["per_second"] for run in mine)
    best_other = max((run["per_second"] for run in others), default=None)
    ratio = best / best_other if best_other else None
    return Row(
        name=name,
        ours=best,
        baseline=best_other,
        ratio=ratio,
        target=f"≥ {least:g}x" if ratio else absent,
        unit="deliveries/s",
        ok=ratio is None or ratio >= least,
    )


def _filters(env: Environment) -> Row:
    """Half of the subscribers want one metric of four."""
    common = {"message": REPORT_OF_FOUR, "in_flight": IN_FLIGHT}
    whole, filtered = take_turns(env, telemetry, telemetry, common, {**common, **SOME_FILTER})
    rates = [max(run["per_second"] for run in runs) for runs in (filtered, whole)]
    ratio = rates[0] / rates[1]
    return Row(
        name=f"fan-out to {SUBSCRIBERS}, half filter one metric of four; baseline: nobody filters",
        ours=rates[0],
        baseline=rates[1],
        ratio=ratio,
        target=f"≥ {LEAST_OF_OWN:g}x",
        unit="deliveries/s",
        ok=ratio >= LEAST_OF_OWN,
    )


def _latency(env: Environment) -> Row:
    mine, others = take_turns(env, telemetry, _nchan, {"rate": RATE / SUBSCRIBERS})
    p99 = min(run["latency"]["p99"] for run in mine)
    other = min((run["latency"]["p99"] for run in others), default=None)
    most = max(2 * (other or 0), ALLOWANCE_US)
    return Row(
        name=f"event to subscriber at {RATE:,} deliveries/s, p99; baseline: nchan",
        ours=p99 / 1000,
        baseline=other / 1000 if other else None,
        ratio=p99 / other if other else None,
        target=f"≤ 2x nchan or {ALLOWANCE_US // 1000} ms",
        unit="ms",
        ok=p99 <= most,
    )
