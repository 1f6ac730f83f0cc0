"""Redis and PostgreSQL for tests: the given ones, or private ones from the installed binaries.

Private servers listen on free loopback ports, keep their files in a folder of the caller's
and end with the `with` block. Nothing here needs Django.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

START_SECONDS = 20.0
DATABASE = "vitalwire"
HOW_TO_GET = {
    "redis": "redis-server is not installed: apt-get install redis-server, or set TEST_REDIS_URL",
    "postgres": "PostgreSQL is not installed: apt-get install postgresql, or set TEST_DATABASE_URL",
    "browser": "Chromium is not installed: apt-get install chromium fonts-dejavu-core",
}


def lacking() -> dict[str, str]:
    """Return what tests cannot have on this machine: name -> what to do about it."""
    have = {
        "redis": bool(os.environ.get("TEST_REDIS_URL") or shutil.which("redis-server")),
        "postgres": bool(os.environ.get("TEST_DATABASE_URL") or _postgres_folder()),
        "browser": bool(chromium()),
    }
    return {name: HOW_TO_GET[name] for name, present in have.items() if not present}


def required() -> set[str]:
    """Return the names in REQUIRE: what must be there, or the tests have failed."""
    names = {word.strip() for word in os.environ.get("REQUIRE", "").split(",") if word.strip()}
    unknown = names - HOW_TO_GET.keys()
    if unknown:
        raise SystemExit(f"REQUIRE names {sorted(unknown)}: use {sorted(HOW_TO_GET)}.")
    return names


def chromium() -> str | None:
    """Return the path of an installed Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def free_port() -> int:
    """Return a TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def redis_service(folder: Path) -> Iterator[str]:
    """Yield the URL of TEST_REDIS_URL, or of a private Redis that keeps nothing on disk."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield given
        return
    port = free_port()
    with running_redis(folder, port):
        yield redis_url(port)


@contextmanager
def running_redis(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Redis of the caller's own on `port`; it may be killed within the block."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no"]
    log = folder / "redis.log"
    with _process(command, log, stop_signal=signal.SIGTERM) as server:
        with redis.Redis.from_url(redis_url(port)) as client:
            _wait_until(client.ping, server, log)
        yield server


def redis_url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


@contextmanager
def postgres_service(folder: Path, *, durable: bool) -> Iterator[str]:
    """Yield the URL of TEST_DATABASE_URL, or of a private PostgreSQL.

    With `durable` every commit reaches the disk, as measurements need it; without it the
    server takes the risks that a thrown-away database may take, and is quicker.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    binaries = _postgres_folder()
    if binaries is None:
        raise RuntimeError(HOW_TO_GET["postgres"])
    # PostgreSQL refuses to run as root; its own user must reach the folder then.
    user: dict[str, Any] = {}
    home = folder / "postgres"
    home.mkdir()
    if os.geteuid() == 0:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        folder.chmod(0o711)
        shutil.chown(home, "postgres", "postgres")
    data = home / "data"
    subprocess.run(
        [binaries / "initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", data],
        check=True,
        cwd=home,
        stdout=subprocess.DEVNULL,
        **user,
    )
    port = free_port()
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", ""]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
    if not durable:
        command += ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
    log = home / "postgres.log"
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for open connections.
    with _process(command, log, stop_signal=signal.SIGINT, cwd=home, **user) as server:
        base = f"postgres://postgres@127.0.0.1:{port}/postgres"
        _wait_until(lambda: psycopg.connect(base, connect_timeout=2).close(), server, log)
        yield create_database(base, DATABASE)


def create_database(url: str, name: str) -> str:
    """Create database `name` on the server of `url` and return its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return with_database(url, name)


def drop_database(url: str, name: str) -> None:
    """Drop database `name` on the server of `url`, whoever is still connected to it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def with_database(url: str, name: str) -> str:
    """Return `url` with another database name."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _postgres_folder() -> Path | None:
    """Return the folder of the newest PostgreSQL server binaries; Debian keeps them off PATH."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(versions, key=lambda path: float(path.parts[-3]), default=None)
    if newest is not None:
        return newest.parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


@contextmanager
def _process(
    command: list[str], log: Path, *, stop_signal: signal.Signals, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` with its output in `log`; end it with the block."""
    options.setdefault("cwd", log.parent)
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        yield server
    finally:
        server.send_signal(stop_signal)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until(probe: Callable[[], Any], server: subprocess.Popen[bytes], log: Path) -> None:
    """Return once `probe` answers without an error; raise with the log when it never does."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            probe()
            return
        except (OSError, redis.ConnectionError, psycopg.OperationalError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")
                raise RuntimeError(f"{server.args!r} did not start:\n{text}") from error
            time.sleep(0.02)
