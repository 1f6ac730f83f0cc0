"""`manage.py publish` and `manage.py listen` with a running server."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from project.tests.live.server import BASE_DIR, Server


def publish(server: Server, *arguments: str, **options: Any) -> dict[str, Any]:
    """Run the command and return what it prints."""
    output = io.StringIO()
    call_command("publish", *arguments, url=server.url, stdout=output, **options)
    answer: dict[str, Any] = json.loads(output.getvalue())
    return answer


@contextmanager
def listening(server: Server, *arguments: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Run `listen`; yields a function that returns the next message it prints."""
    command = [sys.executable, "manage.py", "listen", *arguments, "--url", server.url]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=BASE_DIR, env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("listening"):
                break
        try:
            yield lambda: json.loads(process.stdout.readline())
            process.wait(timeout=15)
        finally:
            process.kill()


def test_what_is_published_is_heard_and_acknowledged(server: Server) -> None:
    topic = f"chat.{uuid4().hex}"
    with listening(server, "chat.*", "--count", "2") as hear:
        ack = publish(server, topic, '{"n": 1}', priority="high")
        assert (ack["status"], ack["recipients"]) == ("delivered", 1)
        assert publish(server, topic, "no JSON")["recipients"] == 1
        heard = [hear(), hear()]
    assert [message["payload"] for message in heard] == [{"n": 1}, "no JSON"]
    assert {message["topic"] for message in heard} == {topic}
    assert heard[0]["metadata"]["position"] == ack["position"]


def test_listening_goes_on_after_a_position(server: Server) -> None:
    topic = f"chat.{uuid4().hex}"
    positions = [publish(server, topic, str(n))["position"] for n in range(3)]
    with listening(server, topic, "--since", positions[0], "--count", "2") as hear:
        assert [hear()["payload"] for _ in range(2)] == [1, 2]


def test_listening_misses_nothing_while_the_server_is_killed(fresh_server: Server) -> None:
    topic = f"chat.{uuid4().hex}"
    with listening(fresh_server, topic, "--count", "2") as hear:
        publish(fresh_server, topic, "1")
        assert hear()["payload"] == 1
        fresh_server.kill()
        fresh_server.restart()
        publish(fresh_server, topic, "2")
        assert hear()["payload"] == 2


def test_what_may_not_be_published_says_why(server: Server) -> None:
    with pytest.raises(CommandError, match=r"alerts\.1"):
        publish(server, "alerts.1", "1")


def test_a_wrong_password_is_told(server: Server) -> None:
    with pytest.raises(CommandError, match="login"):
        publish(server, "chat.general", "1", password="wrong")
    with pytest.raises(CommandError, match="login"):
        call_command("listen", "chat.*", url=server.url, password="wrong")


def test_a_server_that_is_not_there_is_waited_for_only_so_long(server: Server) -> None:
    with pytest.raises(CommandError, match="no answer"):
        call_command("publish", "chat.general", "1", url="http://127.0.0.1:1", timeout=0.5)
