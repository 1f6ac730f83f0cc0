"""Chromium for the tests of the pages, and a witness of whatever a page complains of."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebSocket,
    sync_playwright,
)

from project.tests.live.server import Server
from project.tests.live.witness import Witness
from realtime.tests.described import Undescribed

BASE_DIR = Path(__file__).resolve().parents[3]
ARGUMENTS = [
    "--no-sandbox",  # Chromium refuses to start for root otherwise.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORDS = {
    "surgeon_master": "justina2024",
    "operator": "operator",
    "guest": "guest",
}
# What a browser says of its own accord while the server is away.
SERVER_AWAY = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")


class Visitor:
    """One person's browser window.

    Every error, violation and foreign request is a complaint, and every message over a WebSocket
    that the AsyncAPI document does not describe.
    """

    def __init__(self, context: BrowserContext, server: Server) -> None:
        self.server = server
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._on_request)
        self.page.on("websocket", self._on_websocket)

    def sign_in(self, username: str, path: str, *, password: str | None = None) -> Page:
        """Sign in through the form and go on to `path`."""
        self.page.goto(f"{self.server.url}/login/?next={path}")
        self.page.get_by_label("User name").fill(username)
        self.page.get_by_label("Password").fill(password or PASSWORDS[username])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.server.url}{path}")
        return self.page

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(word in message.text for word in SERVER_AWAY):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.server.url, "data:", "blob:")):
            self.complaints.append(f"asked another host: {request.url}")

    def _on_websocket(self, socket: WebSocket) -> None:
        witness = Witness(socket.url)

        def hear(message: str | bytes) -> None:
            try:
                witness.hear(message)
            except Undescribed as problem:
                self.complaints.append(str(problem))

        socket.on("framereceived", hear)


@pytest.fixture(scope="session")
def static_files(environment: Mapping[str, str]) -> None:
    """Collect what production servers serve; they look for it only when they start."""
    command = [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"]
    subprocess.run(command, cwd=BASE_DIR, env=dict(environment), check=True)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Yield a Chromium that ends with the module: its event loop bars others from this thread."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def launch(browser: Browser, chromium: str) -> Iterator[Callable[..., Browser]]:
    """Return a function that starts another Chromium, with more arguments."""
    launched: list[Browser] = []

    def start(*arguments: str) -> Browser:
        command = [*ARGUMENTS, *arguments]
        launched.append(browser.browser_type.launch(executable_path=chromium, args=command))
        return launched[-1]

    yield start
    for each in launched:
        each.close()


@pytest.fixture(scope="module")
def pages(
    browser: Browser,
    static_files: None,
    django_db_setup: None,
    start_server: Callable[..., Any],
) -> Iterator[Server]:
    """Yield a server whose pages are asked for."""
    with start_server() as running:
        yield running


@pytest.fixture(scope="module")
def operator_session(browser: Browser, pages: Server) -> Any:
    """Return the signed-in operator's cookies, for windows that need not sign in: that is slow."""
    context = browser.new_context()
    Visitor(context, pages).sign_in("operator", "/")
    session = context.storage_state()
    context.close()
    return session


@pytest.fixture
def mortal_pages(
    browser: Browser,
    static_files: None,
    django_db_setup: None,
    start_server: Callable[..., Any],
) -> Iterator[Server]:
    """Yield such a server of the test's own, to be killed."""
    with start_server() as running:
        yield running


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Return a function that opens a window on a server; none may have complained at the end."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    def open_window(server: Server, **options: Any) -> Visitor:
        context = browser.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        visitors.append(Visitor(context, server))
        return visitors[-1]

    yield open_window
    for context in contexts:
        context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []
