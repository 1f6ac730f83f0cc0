"""Live delivery while a million readings are exported and a rule is back-tested on them."""

import json
import threading
from http.client import HTTPConnection
from typing import Any

from bench.env import OUR_SETTINGS, OURS, Environment, Server
from bench.fanout import NO_LIMITS, RATE, REPORT, SUBSCRIBERS
from bench.row import Row, beside_quiet

READINGS = 1_000_000
# Long enough for the export to be under way most of the time; it begins again when it is done.
SECONDS = 12
MOST_RATIO = 5


def measure(env: Environment) -> list[Row]:
    """The best quiet p99 beside the best busy one, each of its own run."""
    runs = [_run(env) for _ in range(env.best_of)]
    name = f"live p99 at {RATE:,} deliveries/s, {READINGS:,} rows exported, a rule tried out"
    return [beside_quiet(name, runs, most=MOST_RATIO)]


def _run(env: Environment) -> tuple[float, float]:
    with env.prepared() as database:
        device_id = (env.folder / "devices.ids").read_text().split()[0]
        env.python(database, OUR_SETTINGS, "-m", "bench.past", device_id, str(READINGS))
        with env.server(OURS, database, OUR_SETTINGS, **NO_LIMITS) as server:
            quiet = _p99(env, server)
            with Operator(server, env.tokens("operator").read_text().split()[0], device_id):
                busy = _p99(env, server)
            return quiet, busy


def _p99(env: Environment, server: Server) -> float:
    result = env.load(
        "fan",
        server,
        seconds=SECONDS,
        rate=RATE / SUBSCRIBERS,
        speakers=1,
        speak_path="/ws/device",
        speak_tokens=env.tokens("device"),
        listeners=SUBSCRIBERS,
        listen_path="/ws/telemetry",
        listen_tokens=env.tokens("operator"),
        drain_seconds=10,
        message=REPORT,
    )
    return float(result["latency"]["p99"])


class Operator:
    """Exports everything and tries a rule out, again and again, until left."""

    def __init__(self, server: Server, token: str, device_id: str) -> None:
        self._server = server
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._device_id = device_id
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(work,))
            for work in (self._export, self._try_out)
        ]
        self._done = {"_export": 0, "_try_out": 0}

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        if not all(self._done.values()):
            raise RuntimeError(f"not everything was done at least once: {self._done}")

    def _repeat(self, work: Any) -> None:
        while not self._is_over.is_set():
            work()
            self._done[work.__name__] += 1

    def _export(self) -> None:
        lines = self._ask("GET", f"/api/v1/devices/{self._device_id}/telemetry/export?format=csv")
        if lines < READINGS:
            raise RuntimeError(f"the export has {lines} lines")

    def _try_out(self) -> None:
        change = json.dumps({"threshold_value": 35.0, "hours": 24})
        self._ask("POST", f"/api/v1/alerts/rules/{self._rule_id()}/preview", change)

    def _rule_id(self) -> int:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        path = f"/api/v1/alerts/rules?device_id={self._device_id}"
        connection.request("GET", path, headers=self._headers)
        rules = json.loads(connection.getresponse().read())
        connection.close()
        return int(rules[0]["id"])

    def _ask(self, method: str, path: str, body: str | None = None) -> int:
        """Read an answer to its end and return how many lines it has."""
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=120)
        connection.request(method, path, body, self._headers)
        response = connection.getresponse()
        lines = 0
        while piece := response.read(65_536):
            lines += piece.count(b"\n")
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path} was answered with {response.status}")
        return lines
