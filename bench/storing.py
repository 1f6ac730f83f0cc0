"""Frames stored per second by one daphne, beside a plain Channels consumer with the ORM."""

from bench.env import OUR_SETTINGS, OURS, PEER, PEER_SETTINGS, Environment
from bench.row import Row
from bench.script import write_script

SURGEONS = 100
LEAST_PER_SECOND = 10_000
LEAST_RATIO = 5
PATH = "/ws/simulation"
# As fast as TCP takes them, the peer reads a million frames and stores a hundred. It does
# best when it is offered a surgeon's natural rate, so that is what it gets.
PEER_RATE = 60
# Afterwards the peer is stopped with what it has: its queue would take minutes to drain.
PEER_DRAIN_SECONDS = 0


def measure(env: Environment) -> list[Row]:
    """Nothing may be lost: what was sent is counted in the database."""
    ours = env.best(lambda: _ours(env), float)
    peer = env.best(lambda: _peer(env), float)
    ratio = ours / peer
    return [
        Row(
            name=f"frames stored, {SURGEONS} surgeons, {env.seconds:.0f} s, none lost",
            ours=ours,
            baseline=peer,
            ratio=ratio,
            target=f"≥ {LEAST_PER_SECOND:,} and ≥ {LEAST_RATIO}x plain Channels",
            unit="frames/s",
            ok=ours >= LEAST_PER_SECOND and ratio >= LEAST_RATIO,
        )
    ]


def _ours(env: Environment) -> float:
    """Return frames acknowledged per second, until the last SAVED; 0 when one was lost."""
    script = write_script(env.folder)
    with env.prepared() as database, env.server(OURS, database, OUR_SETTINGS) as server:
        result = env.load(
            "flood",
            server,
            speakers=SURGEONS,
            speak_path=PATH,
            speak_tokens=env.tokens("surgeons"),
            frames=script,
            seconds=env.seconds,
        )
        stored = env.ask(database, "SELECT SUM(count) FROM devices_trajectorychunk")
        completed = env.ask(
            database, "SELECT SUM(movements) FROM devices_surgery WHERE status = 'completed'"
        )
    is_whole = stored == completed == result["frames"] and result["saved"] == SURGEONS
    return result["acknowledged_per_second"] if is_whole else 0.0


def _peer(env: Environment) -> float:
    """Return rows stored per second while it is offered more than it can take."""
    with env.database() as database:
        env.python(database, PEER_SETTINGS, "-m", "django", "migrate", "--run-syncdb", "-v0")
        with env.server(PEER, database, PEER_SETTINGS) as server:
            result = env.load(
                "deliver",
                server,
                speakers=SURGEONS,
                speak_path=PATH,
                rate=PEER_RATE,
                seconds=env.seconds,
                drain_seconds=PEER_DRAIN_SECONDS,
            )
            stored = env.ask(database, "SELECT COUNT(*) FROM peers_frame")
            return stored / result["took_seconds"]
