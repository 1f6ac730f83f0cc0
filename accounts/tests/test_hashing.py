"""Passwords are hashed with little memory, few at a time, and nobody waits long for a turn."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import make_password
from django.test import Client

from accounts import hashing
from accounts.hashing import HASHES_AT_ONCE, TooManyHashes
from accounts.models import User
from accounts.tests.conftest import PASSWORD
from accounts.tests.rest import LOGIN, REGISTER, post

CREDENTIALS = {"username": "surgeon_master", "password": PASSWORD}


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Occupy every turn until the test ends, and let nobody wait."""
    end = threading.Event()
    pool = ThreadPoolExecutor(HASHES_AT_ONCE)
    for _ in range(HASHES_AT_ONCE):
        pool.submit(end.wait)
    monkeypatch.setattr(hashing, "_turns", pool)
    monkeypatch.setattr(hashing, "TURN_SECONDS", 0)
    yield
    end.set()
    pool.shutdown()


def test_so_many_are_hashed_at_once_and_no_more() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1

    with ThreadPoolExecutor(16) as callers:
        for done in [callers.submit(hashing._in_turn, work) for _ in range(64)]:
            done.result()
    assert most == HASHES_AT_ONCE


def test_who_would_wait_too_long_is_refused(no_turns: None) -> None:
    with pytest.raises(TooManyHashes, match="try again"):
        make_password(PASSWORD)


def test_who_was_refused_is_not_hashed_afterwards(no_turns: None) -> None:
    hashed: list[str] = []
    with pytest.raises(TooManyHashes):
        hashing._in_turn(hashed.append, "too late")
    assert hashing._turns._work_queue.get_nowait().future.cancelled()
    assert hashed == []


@pytest.mark.django_db
@pytest.mark.parametrize("path", [LOGIN, REGISTER])
def test_a_client_is_told_when_to_come_back(client: Client, no_turns: None, path: str) -> None:
    answer = post(client, path, {**CREDENTIALS, "username": "nobody"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert "inténtalo de nuevo" in answer.json()["error"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_a_page_says_so_too(client: Client, no_turns: None, path: str) -> None:
    answer = client.post(path, CREDENTIALS, headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert "at this moment" in answer.content.decode()


def test_a_password_that_was_not_looked_at_is_no_failure(
    surgeon_with_password: User, client: Client, no_turns: None
) -> None:
    assert post(client, LOGIN, CREDENTIALS).status_code == 503
    assert not AccessAttempt.objects.exists()
