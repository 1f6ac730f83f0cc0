"""Our own clients through restarts of the server: nothing missed, nothing twice, all answered."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser

from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from realtime.client.connection import Backoff
from realtime.client.errors import Refused
from realtime.client.pubsub import RealtimeClient
from realtime.tests.node import CLIENT, node

pytest_plugins = ["project.tests.live.browser"]

COUNT = 300
PATIENCE = 60.0
HERE = Path(__file__).parent
# A restart of the server takes seconds; there is no need to make it longer.
QUICK = Backoff(first_seconds=0.1, most_seconds=1.0)

End = Callable[[Server], object]
BOTH: list[End] = [Server.terminate, Server.kill]


@dataclass
class Seen:
    """What a speaker and a hearer know at the end."""

    heard: list[int]
    direct: list[int]
    acked: int
    queued: int
    failed: list[str]
    gaps: list[Any]
    isDone: bool = False

    def assert_whole(self) -> None:
        assert (self.failed, self.gaps) == ([], [])
        assert self.heard == list(range(COUNT))
        # Those that found nobody there wait for their user, and come in order of their own.
        assert sorted(self.direct) == list(range(0, COUNT, 10))
        assert self.acked + self.queued == COUNT + COUNT // 10


def settings_of(server: Server, *, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a conversation of two new members needs to know."""
    speaker, hearer = new_surgeon("ROLE_MEMBER"), new_surgeon("ROLE_MEMBER")
    return {
        "url": server.ws_url("/ws/pubsub"),
        "speaker": server.token_for(speaker),
        "hearer": server.token_for(hearer),
        "hearerName": hearer,
        "topic": f"chat.{uuid4().hex}",
        "count": COUNT,
        "options": options or {},
    }


def lose(server: Server, ends: list[End], progress: Callable[[], Seen]) -> None:
    """End the server and start it again, some messages apart."""
    for number, end in enumerate(ends, start=1):
        enough = COUNT * number // (len(ends) + 1)
        eventually(lambda enough=enough: progress().acked >= enough, within=PATIENCE)
        end(server)
        server.restart()


# --- Python ----------------------------------------------------------------------------------


class Issued:
    """One token, which does not run out while a test goes on."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token

    def forget_token(self) -> None:
        pass


async def converse(server: Server, settings: dict[str, Any], seen: Seen) -> None:
    """Let one client speak and another hear, until everything has come."""

    def client(token: str) -> RealtimeClient:
        return RealtimeClient(server.url, Issued(token), backoff=QUICK)

    hearing, speaking = client(settings["hearer"]), client(settings["speaker"])
    has_all = asyncio.Event()

    def note(into: list[int], data: dict[str, Any]) -> None:
        into.append(data["payload"])
        if len(seen.heard) >= COUNT and len(seen.direct) >= COUNT // 10:
            has_all.set()

    hearing.on("Broadcast", partial(note, seen.heard))
    hearing.on("DirectMessage", partial(note, seen.direct))
    hearing.on_gap(seen.gaps.append)

    async def answered(answer: "asyncio.Future[Any]") -> None:
        try:
            await answer
            seen.acked += 1
        except Refused as refusal:
            if refusal.is_queued:
                seen.queued += 1
            else:
                seen.failed.append(str(refusal))

    async with hearing, speaking, asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        await hearing.subscribe([settings["topic"]])
        for n in range(COUNT):
            tasks.create_task(answered(speaking.publish(settings["topic"], n)))
            if n % 10 == 0:
                tasks.create_task(answered(speaking.send_direct(settings["hearerName"], n)))
        await has_all.wait()


@pytest.mark.parametrize("end", BOTH, ids=["stopped", "killed"])
def test_the_python_client_misses_nothing_while_the_server_restarts(
    fresh_server: Server, end: End
) -> None:
    settings = settings_of(fresh_server)
    seen = Seen([], [], 0, 0, [], [])

    async def both() -> None:
        losing = asyncio.to_thread(lose, fresh_server, [end], lambda: seen)
        await asyncio.gather(converse(fresh_server, settings, seen), losing)

    asyncio.run(both())
    seen.assert_whole()


# --- JavaScript ------------------------------------------------------------------------------


@contextmanager
def node_running(server: Server, *command: str) -> Iterator[Callable[[], Seen]]:
    """Run the conversation in Node; yields a function that returns what it saw last."""
    settings = json.dumps(settings_of(server))
    arguments = [*command, str(HERE / "traffic_in_node.js"), str(CLIENT), settings]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None

        def last() -> Seen:
            line = process.stdout.readline()
            if not line:
                _, errors = process.communicate()
                raise AssertionError(errors)
            return Seen(**json.loads(line))

        try:
            yield last
        finally:
            process.kill()


def test_the_javascript_client_misses_nothing_in_node(fresh_server: Server) -> None:
    with node_running(fresh_server, node()) as last:
        lose(fresh_server, BOTH, last)
        seen = last()
        while not seen.isDone and not seen.failed:
            seen = last()
    seen.assert_whole()


def test_the_javascript_client_works_in_the_oldest_node_it_names(fresh_server: Server) -> None:
    """That of the machine, if it is one before WebSocket was there without asking for it."""
    installed = shutil.which("node")
    version = installed and subprocess.check_output([installed, "--version"], text=True)
    if not installed or not version or not version.startswith("v20."):
        pytest.skip("Node 20 is not installed here")
    with node_running(fresh_server, installed, "--experimental-websocket") as last:
        seen = last()
        while not seen.isDone and not seen.failed:
            seen = last()
    seen.assert_whole()


@pytest.mark.browser
def test_the_javascript_client_misses_nothing_in_a_browser(
    browser: Browser, mortal_pages: Server
) -> None:
    source = (HERE / "traffic.js").read_text().replace("export function", "function")
    page = browser.new_page()
    page.goto(mortal_pages.url)
    page.evaluate(
        f"""async (settings) => {{
            {source}
            const {{ RealtimeClient }} = await import("/static/realtime/client.js");
            window.seen = begin({{ RealtimeClient, ...settings }});
        }}""",
        settings_of(mortal_pages),
    )

    def progress() -> Seen:
        return Seen(**page.evaluate("seen"))

    lose(mortal_pages, BOTH, progress)
    eventually(lambda: page.evaluate("seen.isDone || seen.failed.length"), within=PATIENCE)
    progress().assert_whole()
    page.close()
