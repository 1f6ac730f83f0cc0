"""The server under test: a real process of the stock command on a free port."""

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import psutil

from project.tests import services
from project.tests.live import tokens

BASE_DIR = Path(__file__).resolve().parents[3]
START_SECONDS = 30.0
STOP_SECONDS = 30.0


def command_of(kind: str, port: int) -> list[str]:
    """Return the stock command that serves the project on `port`."""
    if kind == "daphne":
        return ["daphne", "-b", "127.0.0.1", "-p", str(port), "project.asgi:application"]
    if kind == "uvicorn":
        options = ["--ws", "websockets-sansio", "--host", "127.0.0.1", "--port", str(port)]
        return ["uvicorn", "project.asgi:application", *options]
    raise ValueError(f"LIVE_SERVER={kind!r} is unknown: use daphne or uvicorn.")


class Server:
    """One server process. It keeps its port over a restart, and its log in one file."""

    def __init__(
        self,
        *,
        kind: str,
        environment: Mapping[str, str],
        log: Path,
        options: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.options = options
        self.port = services.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def log(self) -> str:
        """Everything the server has printed so far."""
        return self._log.read_text(errors="replace")

    def ws_url(self, path: str, **query: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}" + (f"?{urlencode(query)}" if query else "")

    def token_for(self, username: str, **claims: Any) -> str:
        """Return a good token of the surgery document's form, with `claims` changed."""
        return tokens.sign(tokens.claims_of(username, **claims))

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return status and JSON body (None when it is no JSON) of one HTTP request."""
        fields = dict(headers or {})
        if token is not None:
            fields["Authorization"] = f"Bearer {token}"
        if body is not None:
            fields["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            data = None if body is None else msgspec.json.encode(body)
            connection.request(method, path, data, fields)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        try:
            return response.status, msgspec.json.decode(raw)
        except msgspec.DecodeError:
            return response.status, None

    def rss(self) -> int:
        """Return the resident memory of the server process: bytes."""
        size: int = psutil.Process(self.pid).memory_info().rss
        return size

    def start(self) -> None:
        """Start the process and return once it answers."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command_of(self.kind, self.port), *self.options],
                cwd=BASE_DIR,
                env=dict(self._environment),
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_heed_interrupts,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.kind} did not start ({code=}):\n{self.log}")
            time.sleep(0.05)

    def send_signal(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    def wait(self) -> int:
        """Return the exit code once the process has ended."""
        return self._running.wait(timeout=STOP_SECONDS)

    def terminate(self) -> int:
        """Ask the process to end and return its exit code."""
        self._running.terminate()
        return self.wait()

    def kill(self) -> None:
        """End the process as a crash does."""
        self._running.kill()
        self.wait()

    def restart(self) -> None:
        """Start the process again after `kill` or `terminate`, on the same port."""
        assert self._running.poll() is not None, "it still runs: kill it or terminate it first"
        self.start()

    def stop(self) -> None:
        """End the process, in whatever state it is."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was never started"
        return self._process

    def _answers(self) -> bool:
        try:
            status, _ = self.request("GET", "/healthz")
        except (OSError, http.client.HTTPException):
            return False
        return status == 200


def _heed_interrupts() -> None:
    """Undo what a shell does to its background jobs: they inherit that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
