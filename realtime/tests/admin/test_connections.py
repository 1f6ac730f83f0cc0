"""Connections in the admin: what the roll call tells, and ending them."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from accounts.models import User
from realtime import nodes
from realtime.core.errors import Unavailable
from realtime.models import JournalEntry
from realtime.rollcall import Answer, Line, Question, Roll, RollCall
from realtime.runtime import runtime

pytestmark = pytest.mark.django_db

URL = "/admin/realtime/connection/"


class Deployment:
    """What the processes would answer."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.silent: list[str] = []
        self.more = 0
        self.asked: list[Question] = []
        self.is_serving = True

    def add(self, user: User, id: str = "c1", **changes: Any) -> None:
        given: dict[str, Any] = {
            "id": id,
            "user_id": str(user.pk),
            "username": user.username,
            "role": user.role_id,
            "dialect": "pubsub",
            "endpoint": "pubsub",
            "address": "192.0.2.7",
            "opened_at": 1_700_000_000.0,
            "patterns": ["chat.**"],
            "subscriptions": 1,
            "is_blocked": False,
            "messages_in": 41,
            "messages_out": 4_711,
        }
        self.lines.append(Line(**{**given, **changes}))

    def ask(self, question: Question, *, own: str, others: Iterable[str]) -> Roll:
        self.asked.append(question)
        if not self.is_serving:
            raise Unavailable("this process serves no connections: ask one that does")
        lines = [line for line in self.lines if not question.ids or line.id in question.ids]
        return Roll({own: Answer(len(lines) + self.more, lines)}, self.silent)


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Deployment:
    deployment = Deployment()
    monkeypatch.setattr(
        RollCall, "ask", lambda self, *args, **named: deployment.ask(*args, **named)
    )
    return deployment


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana")


def act(client: Client, action: str, *ids: str) -> str:
    given = {"action": action, "_selected_action": ids}
    return client.post(URL, given, follow=True).content.decode()


def kinds() -> list[str]:
    return [entry.kind for entry in JournalEntry.objects.order_by("id")]


def test_each_connection_is_a_line(client: Client, deployment: Deployment, ana: User) -> None:
    nodes.beat(runtime.node_id, {}, now=timezone.now())
    deployment.add(ana, patterns=["chat.**", "presence.*"], subscriptions=9)
    deployment.add(ana, "c2", dialect="surgery", endpoint="simulation", is_blocked=True)
    page = client.get(URL).content.decode()
    assert "2 connections in 1 process," in page
    for text in ("192.0.2.7", "chat.**, presence.* and 7 more", "surgery (simulation)", "4711"):
        assert text in page
    assert "blocked" in page
    assert "Nov. 14, 2023" in page


def test_a_search_and_a_filter_are_asked_of_the_processes(
    client: Client, deployment: Deployment
) -> None:
    client.get(URL, {"q": "ana", "endpoint": "ai"})
    [question] = deployment.asked
    assert (question.search, question.endpoint) == ("ana", "ai")


def test_who_did_not_answer_and_what_is_cut_is_told(
    client: Client, deployment: Deployment, ana: User
) -> None:
    nodes.beat("another", {}, now=timezone.now())
    deployment.add(ana)
    deployment.silent, deployment.more = ["another"], 250
    page = client.get(URL).content.decode()
    assert "did not answer within 1 s" in page
    assert "1 of 251 are shown" in page


def test_a_process_that_serves_nothing_says_so(client: Client, deployment: Deployment) -> None:
    deployment.is_serving = False
    response = client.get(URL)
    assert response.status_code == 200
    assert b"This process serves no connections" in response.content


def test_a_connection_is_ended_and_it_is_in_the_history(
    client: Client, deployment: Deployment, ana: User
) -> None:
    deployment.add(ana)
    deployment.add(ana, "c2")
    assert "Connections ended: 1." in act(client, "end", "c1")
    [entry] = JournalEntry.objects.all()
    assert entry.kind == "ConnectionEnded"
    assert b'"connection_id":"c1"' in bytes(entry.payload)
    log = LogEntry.objects.get()
    assert (log.object_id, log.object_repr) == ("c1", "ana on pubsub from 192.0.2.7")
    assert log.get_change_message() == "Disconnected."
    assert client.get("/admin/").status_code == 200


def test_a_user_is_disconnected_once_however_many_are_chosen(
    client: Client, deployment: Deployment, ana: User
) -> None:
    for id in ("c1", "c2"):
        deployment.add(ana, id)
    assert "All connections ended of: ana." in act(client, "end_all_of_user", "c1", "c2")
    [entry] = JournalEntry.objects.all()
    assert str(ana.pk).encode() in bytes(entry.payload)
    log = LogEntry.objects.get()
    assert (log.object_id, log.object_repr) == (str(ana.pk), "ana")


@pytest.mark.parametrize("action", ["end", "end_all_of_user"])
def test_what_has_ended_already_is_not_ended(
    client: Client, deployment: Deployment, action: str
) -> None:
    assert "They have ended already." in act(client, action, "gone")
    assert kinds() == []


def test_who_may_look_may_not_end(
    as_viewer: Callable[..., Client], deployment: Deployment, ana: User
) -> None:
    deployment.add(ana)
    viewer = as_viewer("view_connection")
    page = viewer.get(URL).content.decode()
    assert "192.0.2.7" in page
    assert "Disconnect" not in page
    act(viewer, "end", "c1")
    assert kinds() == []


def test_who_may_end_does(
    as_viewer: Callable[..., Client], deployment: Deployment, ana: User
) -> None:
    deployment.add(ana)
    act(as_viewer("view_connection", "end_connection"), "end", "c1")
    assert kinds() == ["ConnectionEnded"]


def test_nobody_looks_without_permission(
    as_viewer: Callable[..., Client], deployment: Deployment
) -> None:
    assert as_viewer().get(URL).status_code == 403
    assert deployment.asked == []


def test_there_is_no_page_for_one_connection(client: Client) -> None:
    for path in ("c1/change/", "add/", "c1/delete/", "c1/history/"):
        assert client.get(f"{URL}{path}").status_code in (302, 404)
