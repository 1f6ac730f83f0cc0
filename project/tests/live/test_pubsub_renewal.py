"""A connection that outlives its token, and one that does not: expired, revoked, another role."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from accounts import services
from accounts.access import principal_for_token
from accounts.models import User
from project.tests.live.admin import Admin
from project.tests.live.listeners import Listener
from project.tests.live.raw import Ended, RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import assert_refused, eventually, new_surgeon
from project.tests.live.talkers import MEMBER, TALKATIVE, Talker

Connect = Callable[..., RawWebSocket]
OPERATOR = "ROLE_OPERATOR"


@pytest.fixture(scope="module")
def lively(django_db_setup: None, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield a server on which anybody may say much."""
    with start_server(**TALKATIVE) as running:
        yield running


@pytest.fixture(scope="module")
def last(lively: Server, start_server: Callable[..., Any]) -> Iterator[Server]:
    """Yield the other process of the deployment; without Redis there is only one."""
    if not settings.REDIS_URL:
        yield lively
        return
    with start_server(**TALKATIVE) as other:
        yield other


def token_of(
    server: Server, username: str, *, seconds: float = 3600, told_before: float = 0, **claims: Any
) -> str:
    """Return a token that is good for so many seconds, and unlike any other.

    Its end is told so many seconds before: it is as old as it has to be for that.
    """
    ends = time.time() + seconds
    given = {
        "iat": ends - max(seconds, told_before * 10),
        "exp": ends,
        "jti": uuid.uuid4().hex,
        **claims,
    }
    return server.token_for(username, **given)


def somebody(role: str = MEMBER) -> str:
    """Create an account that has had tokens for an hour; return its username."""
    username = new_surgeon(role)
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    User.objects.filter(username=username).update(tokens_valid_from=an_hour_ago)
    return username


def room() -> str:
    return f"chat.{uuid.uuid4().hex[:12]}"


@contextmanager
def speaking(connect: Connect, server: Server, *topics: str) -> Iterator[list[int]]:
    """Say 1, 2, 3, … on each topic until the block ends; yield what was acknowledged."""
    talker, said = Talker.connect(connect, server, role=OPERATOR), list[int]()
    ended = threading.Event()

    def speak() -> None:
        for number in itertools.count(1):
            if ended.is_set():
                return
            for topic in topics:
                talker.say(topic, number)
            said.append(number)

    thread = threading.Thread(target=speak, name="speaker", daemon=True)
    thread.start()
    try:
        yield said
    finally:
        ended.set()
        thread.join()


def auth_status(one: Listener) -> dict[str, Any]:
    """Return the next word on the token; deliveries before it are entered in the books."""
    while True:
        message = one.read()
        if message["type"] == "AuthStatus":
            data: dict[str, Any] = message["data"]
            return data


def answer_of(one: Listener, name: str) -> dict[str, Any]:
    """Return the Ack or Error of the message that is called so."""
    while True:
        message = one.read()
        data: dict[str, Any] = message["data"]
        if message["type"] == "Ack" and data["message_id"] == name:
            return data
        if message["type"] == "Error" and data["details"].get("message_id") == name:
            return data


def read_to_the_end(one: Listener) -> Any:
    """Return how the connection ends; what comes before is entered in the books."""
    try:
        while True:
            one.read()
    except Ended as ended:
        return ended.ending


# --- Expiry and renewal --------------------------------------------------------------------


def test_a_token_that_expires_while_subscribed_is_told_before_and_then_closed_with_1008(
    lively: Server, connect: Connect
) -> None:
    username, topic = somebody(), room()
    token = token_of(lively, username, seconds=8, told_before=5)
    ends_ms = int(principal_for_token(token).expires_at.timestamp() * 1000)
    one = Listener(token, topic)
    one.open(lively)
    with one, speaking(connect, lively, topic):
        expiring = auth_status(one)
        assert (expiring["status"], expiring["refresh_required"]) == ("token_expiring", True)
        assert expiring["expires_at"] == ends_ms
        assert time.time() * 1000 < ends_ms
        expired = auth_status(one)
        assert (expired["status"], expired["expires_at"]) == ("expired", ends_ms)
        ending = read_to_the_end(one)
    assert_refused(ending, 1008)
    assert "expired" in ending.reason


def test_who_renews_in_band_hears_everything_over_several_tokens(
    lively: Server, connect: Connect
) -> None:
    username, topic = somebody(), room()
    short = {"seconds": 10, "told_before": 8}
    one = Listener(token_of(lively, username, **short), topic)
    one.open(lively)
    ends = 0.0
    with one:
        with speaking(connect, lively, topic) as said:
            for number in range(3):
                expiring = auth_status(one)
                assert expiring["status"] == "token_expiring"
                ends = ends or expiring["expires_at"] / 1000
                token = token_of(lively, username, **short)
                one.ws.send_json({"type": "Auth", "id": f"a{number}", "data": {"token": token}})
                refreshed = auth_status(one)
                assert (refreshed["status"], refreshed["refresh_required"]) == ("refreshed", False)
                assert refreshed["expires_at"] > expiring["expires_at"]
                assert answer_of(one, f"a{number}")["status"] == "refreshed"
            # Beyond the end of the first one.
            while time.time() < ends + 0.5:
                one.read()
            assert one.others[-1]["type"] != "AuthStatus" or "expired" not in str(one.others[-1])
        one.read_until(len(said))
        assert one.told == {topic: said}
        assert one.again == []


def test_a_token_of_somebody_else_or_of_another_role_is_refused_and_the_old_one_stays(
    lively: Server, connect: Connect
) -> None:
    username, topic = somebody(), room()
    revoked = token_of(lively, username)
    principal = principal_for_token(revoked)
    owner = User.objects.get(username=username)
    services.revoke_token(principal.token_id, user=owner, expires_at=principal.expires_at)
    refused = {
        token_of(lively, somebody()): 403,
        token_of(lively, username, role=OPERATOR): 401,
        token_of(lively, username, seconds=-5): 401,
        revoked: 401,
        token_of(lively, username)[:-4] + "AAAA": 401,
        "nonsense": 401,
    }
    with Listener(token_of(lively, username), topic) as one:
        one.open(lively)
        for number, (token, code) in enumerate(refused.items()):
            one.ws.send_json({"type": "Auth", "id": f"a{number}", "data": {"token": token}})
            answer = answer_of(one, f"a{number}")
            assert answer["code"] == code
            assert "eyJ" not in str(answer)
        Talker.connect(connect, lively).say(topic, "still here")
        one.read_until(1)


def test_a_renewal_that_comes_too_late_does_not_keep_the_connection(
    lively: Server, connect: Connect
) -> None:
    username = somebody()
    one = Listener(token_of(lively, username, seconds=5, told_before=3), room())
    one.open(lively)
    with one:
        assert auth_status(one)["status"] == "token_expiring"
        assert auth_status(one)["status"] == "expired"
        one.ws.send_json({"type": "Auth", "data": {"token": token_of(lively, username)}})
        assert_refused(read_to_the_end(one), 1008)


# --- Revocation ----------------------------------------------------------------------------


def revoke_one(token: str, user: User) -> None:
    principal = principal_for_token(token)
    services.revoke_token(principal.token_id, user=user, expires_at=principal.expires_at)


@pytest.mark.parametrize(
    "revoke",
    [
        pytest.param(revoke_one, id="one token"),
        pytest.param(lambda _, user: services.deactivate_user(user), id="the account"),
    ],
)
def test_a_revocation_while_broadcasts_run_ends_it_at_once_and_nobody_else_misses_anything(
    lively: Server, last: Server, connect: Connect, revoke: Callable[[str, User], Any]
) -> None:
    username, topic = somebody(), room()
    gone = Listener(token_of(last, username), topic)
    stays = Listener(token_of(last, somebody()), topic)
    for one in (gone, stays):
        one.open(last)
    with gone, stays:
        with speaking(connect, lively, topic) as said:
            eventually(lambda: len(said) >= 20)
            revoke(gone.token, User.objects.get(username=username))
            assert auth_status(gone)["status"] == "revoked"
            had = len(gone.ids)
            assert_refused(read_to_the_end(gone), 1008)
            assert len(gone.ids) == had, "it was told something after it was shut out"
            count = len(said)
            eventually(lambda: len(said) >= count + 20)
        stays.read_until(len(said))
        assert stays.told == {topic: said}
        assert stays.again == []
    assert gone.told[topic] == said[: len(gone.told[topic])]


def test_after_a_renewal_the_old_token_may_be_revoked(lively: Server, connect: Connect) -> None:
    username, topic = somebody(), room()
    with Listener(token_of(lively, username), topic) as one:
        one.open(lively)
        new = token_of(lively, username)
        one.ws.send_json({"type": "Auth", "id": "a", "data": {"token": new}})
        assert answer_of(one, "a")["status"] == "refreshed"
        user = User.objects.get(username=username)
        revoke_one(one.token, user)
        Talker.connect(connect, lively).say(topic, "still here")
        one.read_until(1)
        revoke_one(new, user)
        assert auth_status(one)["status"] == "revoked"
        assert_refused(read_to_the_end(one), 1008)


# --- Another role --------------------------------------------------------------------------


def test_a_role_changed_in_the_admin_ends_what_it_may_not_hear_and_nothing_else(
    lively: Server, last: Server, connect: Connect
) -> None:
    username, topic = somebody(OPERATOR), room()
    user = User.objects.get(username=username)
    one = Listener(token_of(last, username), topic, "devices.*", "alerts.**")
    one.open(last)
    admin = Admin(lively)
    took = []
    with one:
        with speaking(connect, lively, topic) as said:
            eventually(lambda: len(said) >= 5)
            for role in (MEMBER, OPERATOR, MEMBER):
                began = time.monotonic()
                admin.change(f"/admin/accounts/user/{user.pk}/change/", role=role)
                if role == OPERATOR:
                    eventually(lambda: subscribes(one, "devices.*", "alerts.**"))
                    continue
                while (message := one.read())["type"] != "Status":
                    pass
                took.append(time.monotonic() - began)
                assert message["data"]["status"] == "unsubscribed"
                details = message["data"]["details"]
                assert set(details["topics"]) == {"devices.*", "alerts.**"}
                assert (details["active_subscriptions"], details["reason"]) == (
                    1,
                    "your role changed",
                )
        one.read_until(len(said))
        assert one.told == {topic: said}
        assert one.again == []
    # This machine may be busy: the quicker one counts.
    assert min(took) < 1, took


def subscribes(one: Listener, *topics: str) -> bool:
    """Try to subscribe; tell whether all of it was granted."""
    name = uuid.uuid4().hex
    one.ws.send_json({"type": "Subscribe", "id": name, "data": {"topics": topics}})
    before = len(one.others)
    while answer_of(one, name).get("code") == 403:
        pass
    return not [each for each in one.others[before:] if each["type"] == "Error"]


def test_a_role_that_may_not_stay_is_told_and_closed_with_1008(
    lively: Server, last: Server
) -> None:
    username = somebody()
    with Listener(token_of(last, username), room()) as one:
        one.open(last)
        services.change_role(User.objects.get(username=username), "ROLE_DEVICE")
        ending = read_to_the_end(one)
        assert one.others[-1]["type"] == "Error"
        assert one.others[-1]["data"]["code"] == 403
    assert_refused(ending, 1008)
