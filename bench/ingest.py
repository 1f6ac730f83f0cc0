"""Readings acknowledged after commit per second by one daphne, beside a plain consumer."""

from bench.env import OUR_SETTINGS, OURS, PEER_SETTINGS, Environment
from bench.row import Row

PEER = "bench.peers.plain_telemetry:application"
PATH = "/ws/device"
# As many as bench/people.py puts into service.
DEVICES = 100
LEAST_RATIO = 6
# Messages of one device that wait for their answer: enough that a transaction has something to
# gather, few enough that nobody waits long.
IN_FLIGHT = 16
BATCHES_IN_FLIGHT = 4
# How ten readings travel, messages in a frame (0: no batch), readings in a message, and the
# least that is expected.
FORMS = (
    ("one a message", 0, 1, 15_000),
    ("batches of ten messages", 10, 1, 60_000),
    ("ten metrics a message", 0, 10, 60_000),
)
# A generator on the same two processors leaves the server less than it has: enough is enough.
SECONDS_MAX = 15.0
# A device is a user of its own, but its messages are counted like anybody's.
UNLIMITED = {"VITALWIRE_TELEMETRY_MESSAGES_PER_SECOND": "0"}


def measure(env: Environment) -> list[Row]:
    """Single readings, then ten in a frame; nothing may be lost or be there twice."""
    return [_row(env, *form) for form in FORMS]


def _row(env: Environment, form: str, batch: int, metrics: int, least: int) -> Row:
    options = _options(env, batch, metrics)
    ours = env.best(lambda: _ours(env, options), float)
    peer = env.best(lambda: _peer(env, options), float)
    ratio = ours / peer
    return Row(
        name=f"readings acknowledged after commit, {form}, {DEVICES} devices, rules included",
        ours=ours,
        baseline=peer,
        ratio=ratio,
        target=f"≥ {least:,} and ≥ {LEAST_RATIO}x plain Channels",
        unit="readings/s",
        ok=ours >= least and ratio >= LEAST_RATIO,
    )


def _ours(env: Environment, options: dict[str, object]) -> float:
    """Return readings acknowledged per second; 0 when one is missing or there twice."""
    with (
        env.prepared() as database,
        env.server(OURS, database, OUR_SETTINGS, **UNLIMITED) as server,
    ):
        result = env.load(
            "report",
            server,
            speak_tokens=env.tokens("devices"),
            **options,
        )
        stored = env.ask(database, "SELECT COUNT(*) FROM devices_reading")
    is_whole = stored == result["acknowledged"] == result["sent"]
    return float(result["acknowledged_per_second"]) if is_whole else 0.0


def _peer(env: Environment, options: dict[str, object]) -> float:
    with env.database() as database:
        env.python(database, PEER_SETTINGS, "-m", "django", "migrate", "--run-syncdb", "-v0")
        with env.server(PEER, database, PEER_SETTINGS) as server:
            result = env.load("report", server, **options)
    return float(result["acknowledged_per_second"])


def _options(env: Environment, batch: int, metrics: int) -> dict[str, object]:
    return {
        "speakers": DEVICES,
        "speak_path": PATH,
        "devices": env.folder / "devices.ids",
        "batch": batch,
        "metrics": metrics,
        "in_flight": BATCHES_IN_FLIGHT if batch or metrics > 1 else IN_FLIGHT,
        "seconds": min(env.seconds, SECONDS_MAX),
    }
