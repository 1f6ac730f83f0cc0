"""Health over REST: open to everybody, and always an answer."""

from typing import Any
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from redis import ConnectionError as RedisGone
from rest_framework.test import APIClient

from devices.api import health
from devices.tests.builders import body_of

ROOT = "/api/v1/health"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_healthy_server_says_so(db: None, settings: Any, slash: str) -> None:
    settings.REDIS_URL = ""
    response = APIClient(headers={"Authorization": "Bearer nonsense"}).get(f"{ROOT}{slash}")
    assert response.status_code == 200
    body = body_of(response)
    assert list(body) == ["status", "timestamp", "version", "services", "environment"]
    assert body["status"] == "healthy"
    assert isinstance(body["timestamp"], float)
    assert body["services"] == {
        "database": "healthy",
        "redis": "disabled (local development)",
        "api": "healthy",
    }


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_ping_is_answered_with_the_time(slash: str) -> None:
    response = APIClient().get(f"{ROOT}/ping{slash}")
    assert response.status_code == 200
    assert isinstance(body_of(response)["pong"], float)


def test_a_database_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    away = Mock(cursor=Mock(side_effect=OperationalError("secret host")))
    monkeypatch.setattr(health, "connection", away)
    response = APIClient().get(ROOT)
    assert response.status_code == 200
    body = body_of(response)
    assert body["status"] == "unhealthy"
    assert body["services"]["database"] == "unhealthy: OperationalError"


@pytest.mark.parametrize(
    ("problem", "state"), [(None, "healthy"), (RedisGone("x"), "unhealthy: ConnectionError")]
)
def test_redis_is_asked_where_there_is_one(
    db: None,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    problem: Exception | None,
    state: str,
) -> None:
    settings.REDIS_URL = "redis://nowhere"
    monkeypatch.setattr(health, "_redis", lambda url: Mock(ping=Mock(side_effect=problem)))
    body = body_of(APIClient().get(ROOT))
    # Only the database decides.
    assert (body["status"], body["services"]["redis"]) == ("healthy", state)
