"""Too many failed logins: 429 at every door, for that name from that address only."""

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from axes.models import AccessAttempt
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client

from accounts import roles, throttle
from accounts.models import User
from accounts.tests.conftest import PASSWORD
from realtime.core.limits import ConnectionBudget

LOGIN = "/api/v1/auth/login"
ADMIN_LOGIN = "/admin/login/"
PAGE_LOGIN = "/login/"
REGISTER = "/api/v1/auth/register"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def three_strikes(settings: Any) -> None:
    """Three instead of ten: each costs an argon2 hash."""
    settings.AXES_FAILURE_LIMIT = 3


def log_in(
    client: Client, password: str, username: str = "surgeon_master", address: str = "192.0.2.1"
) -> HttpResponse:
    body = json.dumps({"username": username, "password": password})
    return client.post(LOGIN, body, content_type="application/json", REMOTE_ADDR=address)


def assert_locked_out(answer: HttpResponse) -> None:
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert list(answer.json()) == ["error"]
    assert "60 segundos" in answer.json()["error"]


def test_third_failure_locks_the_name_out(client: Client, surgeon_with_password: User) -> None:
    assert [log_in(client, "wrong one").status_code for _ in range(2)] == [401, 401]
    assert_locked_out(log_in(client, "wrong one"))
    right = log_in(client, PASSWORD)
    assert_locked_out(right)
    assert "jwt-token" not in right.cookies


def test_unknown_name_is_locked_out_alike(client: Client) -> None:
    codes = [log_in(client, "wrong one", "nobody").status_code for _ in range(3)]
    assert codes == [401, 401, 429]


def test_others_are_not_locked_out(client: Client, surgeon_with_password: User) -> None:
    User.objects.create_user("other", PASSWORD)
    for _ in range(3):
        log_in(client, "wrong one")
    assert log_in(client, PASSWORD, "other").status_code == 200
    assert log_in(client, PASSWORD, address="192.0.2.2").status_code == 200


def test_success_forgives_the_failures_before_it(
    client: Client, surgeon_with_password: User
) -> None:
    for _ in range(2):
        for _ in range(2):
            assert log_in(client, "wrong one").status_code == 401
        assert log_in(client, PASSWORD).status_code == 200


def test_open_tokens_are_not_locked_out(client: Client, surgeon_with_password: User) -> None:
    token = log_in(client, PASSWORD).json()["token"]
    for _ in range(3):
        log_in(client, "wrong one")
    client.cookies.clear()
    me = client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert me.status_code == 200


def test_invalid_bodies_are_not_failures(client: Client, surgeon_with_password: User) -> None:
    for _ in range(4):
        assert log_in(client, "").status_code == 400
    assert log_in(client, PASSWORD).status_code == 200


def test_admin_login_is_locked_out_with_the_same_answer(client: Client) -> None:
    User.objects.create_user("admin", PASSWORD, role=roles.ADMIN)
    form = {"username": "admin", "password": "wrong one"}
    for _ in range(2):
        assert client.post(ADMIN_LOGIN, form).status_code == 200
    assert_locked_out(client.post(ADMIN_LOGIN, form))
    assert_locked_out(client.post(ADMIN_LOGIN, {**form, "password": PASSWORD}))


def test_one_door_counts_for_the_other(client: Client) -> None:
    User.objects.create_user("admin", PASSWORD, role=roles.ADMIN)
    for _ in range(2):
        log_in(client, "wrong one", "admin", "127.0.0.1")
    assert_locked_out(client.post(ADMIN_LOGIN, {"username": "admin", "password": "wrong one"}))


def test_browser_gets_a_page_if_there_is_one(client: Client, settings: Any) -> None:
    settings.AXES_LOCKOUT_TEMPLATE = "admin/404.html"
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    form = {"username": "admin", "password": "wrong one"}
    for _ in range(3):
        answer = client.post(ADMIN_LOGIN, form, headers=headers)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert answer.headers["Content-Type"].startswith("text/html")


def test_lockout_is_logged_as_one(
    client: Client, surgeon_with_password: User, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        log_in(client, "wrong one")
    caplog.clear()
    log_in(client, PASSWORD)
    mine = [r.getMessage() for r in caplog.records if r.name == "vitalwire.accounts"]
    assert mine == ["login refused: too many failures"]


def test_failures_hold_no_password(client: Client, surgeon_with_password: User) -> None:
    log_in(client, "hunter2-hunter2")
    client.post(ADMIN_LOGIN, {"username": "surgeon_master", "password": "hunter2-hunter2"})
    attempts = AccessAttempt.objects.values()
    assert attempts
    assert "hunter2" not in str(list(attempts))


# --- whatever the name ----------------------------------------------------------------


@pytest.fixture
def three_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three a minute for each address."""
    budget = ConnectionBudget(connections=0, per_minute=3)
    monkeypatch.setattr(throttle, "_attempts", budget)


def register(client: Client, name: str, address: str = "192.0.2.1") -> HttpResponse:
    body = json.dumps({"username": name, "password": PASSWORD})
    return client.post(REGISTER, body, content_type="application/json", REMOTE_ADDR=address)


def assert_paused(answer: HttpResponse) -> None:
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert "desde tu dirección" in answer.json()["error"]


def test_an_address_that_tries_many_names_is_paused(client: Client, three_attempts: None) -> None:
    codes = [log_in(client, "Spring2026", f"surgeon{n}").status_code for n in range(3)]
    assert codes == [401, 401, 401]
    assert_paused(log_in(client, "Spring2026", "surgeon3"))
    assert log_in(client, "Spring2026", "surgeon3", "192.0.2.2").status_code == 401


def test_registrations_count_with_the_logins(client: Client, three_attempts: None) -> None:
    assert register(client, "somebody").status_code == 200
    assert log_in(client, PASSWORD, "somebody").status_code == 200
    assert register(client, "somebody else").status_code == 200
    assert_paused(register(client, "yet another"))
    assert not User.objects.filter(username="yet another").exists()
    assert register(client, "yet another", "192.0.2.2").status_code == 200


def test_a_paused_address_is_no_failure_of_the_name(client: Client, three_attempts: None) -> None:
    for n in range(6):
        log_in(client, "wrong one", f"surgeon{n}")
    assert AccessAttempt.objects.count() == 3


@pytest.mark.parametrize("path", [ADMIN_LOGIN, PAGE_LOGIN])
def test_a_paused_address_is_told_so_on_every_page(
    client: Client, three_attempts: None, path: str
) -> None:
    form = {"username": "admin", "password": "wrong one"}
    for n in range(3):
        client.post(path, {**form, "username": f"admin{n}"})
    assert_paused(client.post(path, form))
    page = client.post(path, form, headers={"Accept": "text/html"})
    assert page.status_code == 429
    assert "from your address" in page.content.decode()


@pytest.mark.django_db(transaction=True)
async def test_answer_is_the_same_under_asgi(async_client: AsyncClient) -> None:
    body = json.dumps({"username": "nobody", "password": "wrong one"})
    for _ in range(3):
        answer = await async_client.post(LOGIN, body, content_type="application/json")
    # The view ran in a thread of its own, whose connection would keep the database from ending.
    await sync_to_async(connections.close_all)()
    assert_locked_out(answer)
