"""What every measurement stands on: databases of its own, real servers, the load generator."""

import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg

from bench.cores import LOAD, SERVER, pinned_to
from bench.peers import nchan, socketio

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "bench" / "build"
START_SECONDS = 30.0
STOP_SECONDS = 30.0

OURS = "project.asgi:application"
OUR_SETTINGS = "bench.settings"
PEER = "bench.peers.plain_channels:application"
PEER_SETTINGS = "bench.peers.settings"
BARE = "bench.peers.bare_daphne:application"
COMMANDS = {
    "daphne": ["daphne", "-v", "0", "-p"],
    "uvicorn": ["uvicorn", "--ws", "websockets-sansio", "--log-level", "warning", "--port"],
}


@dataclass(frozen=True)
class Server:
    """A server that answers on `port`; `pid` is the process whose memory and time count."""

    port: int
    pid: int


class Environment:
    """The options of a run, and the folder where it leaves everything.

    `database_url` names a PostgreSQL server on which databases are created and dropped
    again; empty for SQLite files in the folder.
    """

    def __init__(self, folder: Path, *, database_url: str, seconds: float, best_of: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.best_of = best_of
        self._database_url = database_url
        self._secrets = {name: secrets.token_hex(32) for name in ("SECRET_KEY", "JWT_SECRET_KEY")}

    def best(self, measure: Callable[[], T], key: Callable[[T], float]) -> T:
        """Measure as often as asked and return what has the largest key."""
        return max((measure() for _ in range(self.best_of)), key=key)

    # --- Databases ---

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the address of an empty database; it is gone afterwards."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        if not self._database_url:
            yield f"sqlite:///{self.folder / name}.sqlite3"
            return
        server = urlsplit(self._database_url)
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
            try:
                yield server._replace(path=f"/{name}").geturl()
            finally:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def ask(self, database: str, query: str) -> int:
        """Return the one number that `query` selects; 0 for null."""
        if database.startswith("sqlite"):
            with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
                row = connection.execute(query).fetchone()
        else:
            with psycopg.connect(database) as connection:
                row = connection.execute(query).fetchone()
        return int(row[0] or 0)

    @contextmanager
    def prepared(self) -> Iterator[str]:
        """Yield a database with our tables and the people of the measurements."""
        with self.database() as database:
            self.python(database, OUR_SETTINGS, "-m", "bench.people", str(self.folder))
            yield database

    def tokens(self, who: str) -> Path:
        """Return the file of tokens that `bench.people` wrote: surgeons, devices …"""
        return self.folder / f"{who}.tokens"

    # --- Processes ---

    def python(self, database: str, settings: str, *arguments: str) -> str:
        """Run our interpreter to its end and return what it printed."""
        return _output([sys.executable, *arguments], self._variables(database, settings))

    @contextmanager
    def server(
        self,
        application: str,
        database: str = "",
        settings: str = "",
        *,
        kind: str = "daphne",
        is_pinned: bool = False,
        **variables: str,
    ) -> Iterator[Server]:
        """Yield a server that answers, on one core if pinned; it is stopped afterwards.

        `kind` is daphne or uvicorn, by their stock commands.
        """
        port = _free_port()
        log_file = self.folder / f"{kind}-{port}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *COMMANDS[kind], str(port), application],
                cwd=ROOT,
                env=self._variables(database, settings) | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=pinned_to(SERVER) if is_pinned else None,
            )
        with _serving(process, port, log_file) as server:
            yield server

    @contextmanager
    def script(self, module: str) -> Iterator[Server]:
        """Yield a peer that is a program of its own, `python -m module PORT`, on one core."""
        port = _free_port()
        log_file = self.folder / f"{module}-{port}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(port)],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=pinned_to(SERVER),
            )
        with _serving(process, port, log_file) as server:
            yield server

    @contextmanager
    def nchan(self) -> Iterator[Server]:
        """Yield an nginx with nchan that answers, on one core; it is stopped afterwards."""
        port = _free_port()
        folder = self.folder / f"nchan-{port}"
        # Its worker is another user's process, and has to get to its folder.
        self.folder.chmod(0o755)
        process = nchan.start(folder, port, pinned_to(SERVER))
        with _serving(process, port, folder / "stderr.log") as master:
            yield Server(port, nchan.worker_of(master.pid))

    @contextmanager
    def socketio(self) -> Iterator[Server | None]:
        """Yield a Socket.IO server that answers, on one core; None where it cannot be had."""
        folder = socketio.install(BUILD)
        if folder is None:
            yield None
            return
        port = _free_port()
        log_file = self.folder / f"socketio-{port}.log"
        process = socketio.start(folder, port, log_file, pinned_to(SERVER))
        with _serving(process, port, log_file) as server:
            yield server

    def _variables(self, database: str, settings: str) -> dict[str, str]:
        """Return the environment of a server in production: DEBUG keeps every query."""
        return {
            "PATH": os.environ["PATH"],
            **self._secrets,
            "DEBUG": "0",
            "LOG_LEVEL": "WARNING",
            "DATABASE_URL": database,
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONPATH": str(ROOT),
        }

    # --- Load ---

    def load(
        self, scenario: str, server: Server, *, is_pinned: bool = False, **options: Any
    ) -> dict[str, Any]:
        """Run the load generator and return what it measured; names as in bench/load.c."""
        command = self._load_command(scenario, server, options)
        return json.loads(_output(command, dict(os.environ), is_pinned=is_pinned))

    @contextmanager
    def loading(self, scenario: str, server: Server, **options: Any) -> Iterator[dict[str, Any]]:
        """Run the load generator meanwhile; what it measured is in the dict afterwards."""
        command = self._load_command(scenario, server, options)
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        result: dict[str, Any] = {}
        try:
            yield result
            printed = process.communicate()[0]
            if process.returncode:
                sys.exit(f"{' '.join(command[:4])} … failed")
            result.update(json.loads(printed))
        finally:
            process.kill()
            process.wait()

    @staticmethod
    def _load_command(scenario: str, server: Server, options: dict[str, Any]) -> list[str]:
        command = [str(build_load()), scenario, "--port", str(server.port)]
        for name, value in {"pid": server.pid, **options}.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        return command


def build_load() -> Path:
    """Compile bench/load.c when it changed, and return the program."""
    source, program = ROOT / "bench" / "load.c", BUILD / "load"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["cc", *flags, "-o", str(program), str(source)], check=True)
    return program


def _output(command: list[str], variables: dict[str, str], *, is_pinned: bool = False) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=pinned_to(LOAD) if is_pinned else None,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} … failed:\n{done.stderr[-4000:]}")
    return done.stdout


@contextmanager
def _serving(process: subprocess.Popen[bytes], port: int, log_file: Path) -> Iterator[Server]:
    """Yield the server once it answers; it is stopped afterwards."""
    try:
        _wait_until_open(port, process, log_file)
        yield Server(port, process.pid)
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_open(port: int, process: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"the server ended with {process.returncode}:\n{log_file.read_text()[-4000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"the server did not open its port within {START_SECONDS:.0f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
