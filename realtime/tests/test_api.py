"""`GET /api/v1/stats/connections`: the document's six figures, for who may read devices."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import roles
from accounts.models import User
from accounts.tokens import issue_access
from realtime import nodes
from realtime.runtime import runtime
from realtime.tests.doubles import member

pytestmark = pytest.mark.django_db

PATH = "/api/v1/stats/connections"


def get(role: str | None, path: str = PATH) -> Any:
    client, headers = Client(), {}
    if role is not None:
        user = User.objects.create_user(f"user of {role}", role=role)
        headers = {"Authorization": f"Bearer {issue_access(user)}"}
    return client.get(path, headers=headers)


@pytest.fixture(autouse=True)
def _own_figures_are_as_they_were() -> Iterator[None]:
    before = runtime.oversight.statistics
    runtime.oversight.statistics = nodes.Statistics()
    yield
    for each in runtime.hub:
        runtime.hub.leave(each)
    runtime.oversight.statistics = before


def test_a_server_that_nobody_came_to_has_six_zeros() -> None:
    response = get(roles.OPERATOR)
    assert response.status_code == 200
    assert response.json() == {
        "totalConnections": 0,
        "activeConnections": 0,
        "messagesReceived": 0,
        "messagesSent": 0,
        "averageConnectionDuration": 0,
        "messagesPerConnection": 0,
    }


def test_all_processes_that_are_and_were_count() -> None:
    now = timezone.now()
    figures = {"opened": 2, "closed": 2, "messages_in": 6, "messages_out": 2, "seconds_open": 10.0}
    nodes.beat("was", {"ai": 9}, statistics=figures, now=now - timedelta(hours=1))
    nodes.bury_dead(now=now)
    nodes.beat("is", {"ai": 1, "pubsub": 2}, statistics={"opened": 5, "closed": 2}, now=now)
    here = member()
    here.session.opened_at = now
    runtime.hub.join(here)
    here.session.messages_out = 8
    body = get(roles.VIEWER).json()
    assert body["totalConnections"] == 8
    assert body["activeConnections"] == 4
    assert (body["messagesReceived"], body["messagesSent"]) == (6, 10)
    assert body["messagesPerConnection"] == 2.0
    assert body["averageConnectionDuration"] == pytest.approx(10 / 8, abs=0.5)


def test_with_a_slash_it_is_the_same() -> None:
    assert get(roles.ADMIN, f"{PATH}/").status_code == 200


@pytest.mark.parametrize("role", [roles.SURGEON, roles.AI, roles.DEVICE, roles.MEMBER])
def test_who_may_not_read_devices_may_not_read_this(role: str) -> None:
    assert get(role).status_code == 403


def test_nobody_in_particular_is_asked_for_a_token() -> None:
    assert get(None).status_code == 401
