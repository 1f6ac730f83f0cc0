"""Fixtures for tests against a real server process, which shares its database with the test.

`LIVE_SERVER` chooses daphne (default) or uvicorn; `DATABASE_URL` and `REDIS_URL` choose the
deployment. Every run, and every xdist worker, has a database and servers of its own.
"""

import fcntl
import io
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoDbBlocker

from conftest import close_connections
from project.tests import services
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import BASE_DIR, Server
from project.tests.live.witness import witnessed_clients

KIND = os.environ.get("LIVE_SERVER", "daphne")
# Shorter than in life, so that what waits for them is tested quickly.
TIMES = {
    "VITALWIRE_HEADER_SECONDS": "2",
    "VITALWIRE_SURGERY_GRACE_SECONDS": "2",
    "VITALWIRE_STALLED_SECONDS": "3",
}
# What a server prints with a traceback although it is the peer's fault, and was dealt with.
TOLERATED = "Invalid UTF-8 sequence received from client"
SOAK = 20 if os.environ.get("SOAK") else 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep those that have a long version, when that is what is asked for."""
    if SOAK == 1:
        return
    short = [item for item in items if "soak" not in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=short)
    items[:] = [item for item in items if item not in short]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of an empty database that both the servers and the tests use."""
    if connection.vendor == "sqlite":
        path = tmp_path_factory.mktemp("database") / "live.sqlite3"
        connection.settings_dict["NAME"] = str(path)
        yield f"sqlite:///{path}"
        return
    name = f"vitalwire_live_{uuid.uuid4().hex[:12]}"
    base = os.environ["DATABASE_URL"]
    url = services.create_database(base, name)
    connection.settings_dict["NAME"] = name
    yield url
    services.drop_database(base, name)


@pytest.fixture(scope="session", autouse=True)
def django_db_setup(database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Migrate and fill the database, and let every test read it: no transaction is rolled back."""
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        call_command("seed_demo", "--yes-in-production", stdout=io.StringIO())
        yield
        close_connections()


@pytest.fixture(scope="session")
def files_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where all servers of this run keep stored files."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="session")
def environment(database: str, files_root: Path) -> dict[str, str]:
    """Return the environment of a production server, as far as the deployment goes."""
    return {
        **os.environ,
        **TIMES,
        # Not the tests' own, by which every process has channels of its own.
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATABASE_URL": database,
        "REDIS_URL": settings.REDIS_URL,
        "VITALWIRE_FILES_ROOT": str(files_root),
        "DEBUG": "0",
        "SECRET_KEY": settings.SECRET_KEY,
        "JWT_SECRET_KEY": settings.JWT_SECRET_KEY,
        "ALLOWED_HOSTS": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="session")
def static_files(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Collect what the pages load, as an operator does before the first start."""
    command = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity=0"]
    # The folder is one for all workers: whoever comes first fills it, the others wait.
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "static-files").open("a+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        turn.seek(0)
        if not turn.read():
            subprocess.run(command, cwd=BASE_DIR, env=environment, check=True)
            turn.write("collected")


@pytest.fixture(scope="session")
def start_server(
    environment: dict[str, str], static_files: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Return a context manager that runs one server.

    `options` are added to its command, other keywords to its environment. `faults` is how many
    faults of ours the test provokes: the log has to name each, and no other.
    """

    @contextmanager
    def run(options: Sequence[str] = (), *, faults: int = 0, **changes: str) -> Iterator[Server]:
        log = tmp_path_factory.mktemp("server") / "log.txt"
        server = Server(kind=KIND, environment={**environment, **changes}, log=log, options=options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
        assert_log_is_clean(server, faults=faults)

    return run


def assert_log_is_clean(server: Server, *, faults: int = 0) -> None:
    """Assert what holds for every server, whatever was done to it."""
    lines = server.log.splitlines()
    found = [
        number
        for number, line in enumerate(lines)
        if "Traceback" in line and TOLERATED not in lines[number - 1]
    ]
    told = "\n".join("\n".join(lines[max(0, number - 2) : number + 40]) for number in found)
    assert len(found) == faults, f"errors that nobody expected:\n{told}"
    assert "eyJ" not in server.log, "a token stands in the log"


@pytest.fixture(scope="session")
def server(django_db_setup: None, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield the server that most tests share; none of them may end it."""
    with start_server() as running:
        yield running


@pytest.fixture
def fresh_server(django_db_setup: None, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield a server of the test's own, to be killed or terminated."""
    with start_server() as running:
        yield running


@pytest.fixture(scope="session")
def servers(server: Server, start_server: Callable[..., Any]) -> Iterator[tuple[Server, Server]]:
    """Yield two processes of one deployment; needs Redis between them."""
    if not settings.REDIS_URL:
        pytest.skip("one process only: this deployment has no Redis")
    with start_server() as other:
        yield server, other


@pytest.fixture(scope="session", autouse=True)
def every_word_is_described() -> Iterator[None]:
    """Fail a client of ours to which a server says what the AsyncAPI document does not."""
    with witnessed_clients():
        yield


@pytest.fixture
def connect() -> Iterator[Callable[..., RawWebSocket]]:
    """Return a function that opens a WebSocket, which is dropped after the test."""
    with ExitStack() as stack:

        def connect_to(url: str, **options: Any) -> RawWebSocket:
            return stack.enter_context(RawWebSocket(url, **options))

        yield connect_to


@pytest.fixture
def simulate(server: Server, connect: Callable[..., RawWebSocket]) -> Callable[..., RawWebSocket]:
    """Return a function that opens /ws/simulation as a surgeon, of `on` or the shared server."""

    def simulate_as(
        username: str = "surgeon_master", *, on: Server = server, **query: str
    ) -> RawWebSocket:
        return connect(on.ws_url("/ws/simulation", token=on.token_for(username), **query))

    return simulate_as


@pytest.fixture
def soak() -> int:
    """Return how many times longer than in `make test` a test shall take."""
    return SOAK


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of an installed Chromium, or skip."""
    path = services.chromium()
    if path is None:
        pytest.skip(services.HOW_TO_GET["browser"])
    return path
