"""A connection that outlives its token."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from accounts.tokens import BadToken, TokenProblem
from realtime.core.errors import Forbidden, TryLater
from realtime.core.session import Principal
from realtime.dialects.pubsub import renewal
from realtime.dialects.pubsub.schema import milliseconds
from realtime.hub import Hub
from realtime.tests.dialects.pubsub.talk import Talk, talk_to
from realtime.tests.doubles import principal
from realtime.tests.hubs import FakeClock, History
from realtime.tests.message_events import published
from realtime.tests.wire import turns

HEARS = ("chat.**", "updates.**")


def olga(**changes: Any) -> Principal:
    return replace(principal("olga", subscribe=HEARS), **changes)


class Accounts:
    """What a token is good for: somebody, or what is wrong with it."""

    def __init__(self) -> None:
        self.tokens: dict[str, Principal | Exception] = {}
        self.meanwhile: Any = None

    async def principal_of(self, token: str) -> Principal:
        if self.meanwhile is not None:
            self.meanwhile()
        answer = self.tokens[token]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    accounts = Accounts()
    monkeypatch.setattr(renewal, "principal_of", accounts.principal_of)
    return accounts


@pytest.fixture
async def talk(hub: Hub, history: History) -> AsyncIterator[Talk]:
    talk = await talk_to(hub, olga())
    yield talk
    await talk.wire.end()


# --- The warning ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [(86_400, 60), (600, 60), (599, 59.9), (20, 2), (0, 0), (-5, 0)],
)
def test_a_token_is_told_to_expire_a_minute_or_a_tenth_of_its_lifetime_before(
    lifetime: float, seconds: float
) -> None:
    now = datetime.now(UTC)
    who = olga(issued_at=now, expires_at=now + timedelta(seconds=lifetime))
    assert renewal.warning_of(who) == pytest.approx(seconds)


async def test_who_connects_with_a_token_about_to_expire_is_told_at_once(hub: Hub) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=30)
    talk = await talk_to(hub, olga(issued_at=ends - timedelta(days=1), expires_at=ends))
    assert await talk.hear_data("AuthStatus") == {
        "status": "token_expiring",
        "expires_at": milliseconds(ends),
        "refresh_required": True,
    }
    assert await talk.is_silent()
    await talk.wire.end()


async def test_a_token_that_is_not_renewed_is_told_to_have_expired_and_closed_with_1008(
    hub: Hub, clock: FakeClock
) -> None:
    now = datetime.now(UTC)
    talk = await talk_to(hub, olga(issued_at=now, expires_at=now + timedelta(seconds=0.2)))
    assert (await talk.hear_data("AuthStatus"))["status"] == "token_expiring"
    assert (await talk.hear_data("AuthStatus"))["status"] == "expired"
    assert await talk.wire.ending() == (1008, "token expired")
    await talk.wire.end()


# --- Renewal -------------------------------------------------------------------------------


async def test_a_new_token_of_the_same_user_goes_on(
    hub: Hub, accounts: Accounts, history: History
) -> None:
    now = datetime.now(UTC)
    talk = await talk_to(hub, olga(issued_at=now, expires_at=now + timedelta(seconds=0.3)))
    await talk.subscribe("chat.*")
    later = olga(token_id="another", expires_at=now + timedelta(hours=1))
    accounts.tokens["new"] = later
    talk.send("Auth", {"token": "new"}, id="a1")
    assert await talk.hear_data("AuthStatus") == {
        "status": "refreshed",
        "expires_at": milliseconds(later.expires_at),
        "refresh_required": False,
        "message_id": "a1",
    }
    assert await talk.hear_data("Ack") == {"message_id": "a1", "status": "refreshed"}
    (member,) = hub
    assert member.session.principal is later
    history.happen(published("m", "chat.a"))
    assert await talk.told(1) == ["m"]
    await talk.wire.end()


async def test_after_a_renewal_the_end_of_the_old_token_means_nothing(
    hub: Hub, accounts: Accounts
) -> None:
    now = datetime.now(UTC)
    talk = await talk_to(hub, olga(issued_at=now, expires_at=now + timedelta(seconds=2)))
    ends = now + timedelta(seconds=20)
    accounts.tokens["new"] = olga(issued_at=ends - timedelta(days=1), expires_at=ends)
    talk.send("Auth", {"token": "new"})
    assert (await talk.hear_data("AuthStatus"))["status"] == "refreshed"
    # The warning is about the new one.
    expiring = await talk.hear_data("AuthStatus")
    assert (expiring["status"], expiring["expires_at"]) == ("token_expiring", milliseconds(ends))
    await talk.wire.end()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (BadToken(TokenProblem.MALFORMED), 401),
        (BadToken(TokenProblem.EXPIRED), 401),
        (BadToken(TokenProblem.REVOKED), 401),
        (BadToken(TokenProblem.ROLE_MISMATCH), 401),
        (TryLater("accounts cannot be checked now"), 503),
        (principal("bea", subscribe=HEARS), 403),
        (olga(endpoints=frozenset({"ai"})), 403),
    ],
    ids=["malformed", "expired", "revoked", "another role", "away", "another user", "endpoint"],
)
async def test_a_token_that_is_no_good_changes_nothing(
    talk: Talk, hub: Hub, accounts: Accounts, answer: Principal | Exception, code: int
) -> None:
    (member,) = hub
    before = member.session.principal
    accounts.tokens["new"] = answer
    talk.send("Auth", {"token": "new"})
    assert (await talk.hear_data("Error"))["code"] == code
    assert member.session.principal is before
    assert await talk.is_silent()


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.token"),
        ({"token": 5}, "data.token"),
        ({"token": ""}, "data.token"),
        ({"token": "x" * 8193}, "data.token"),
    ],
)
async def test_a_message_without_a_token_is_400(talk: Talk, data: Any, field: str) -> None:
    talk.send("Auth", data)
    refusal = await talk.hear_data("Error")
    assert (refusal["code"], refusal["details"]["field"]) == (400, field)


async def test_subscriptions_are_judged_again_at_once_and_the_others_miss_nothing(
    talk: Talk, accounts: Accounts, history: History
) -> None:
    await talk.subscribe("chat.*", "updates.*")
    accounts.tokens["new"] = olga(role="ROLE_MEMBER", subscribe=("chat.**",))
    accounts.meanwhile = lambda: history.happen(published("during", "chat.a"))
    talk.send("Auth", {"token": "new"})
    assert await talk.told(1) == ["during"]
    assert (await talk.hear_data("AuthStatus"))["status"] == "refreshed"
    assert await talk.hear_data("Status") == {
        "status": "unsubscribed",
        "details": {
            "topics": ["updates.*"],
            "active_subscriptions": 1,
            "reason": renewal.ROLE_CHANGED,
        },
    }
    history.happen(published("not any more", "updates.a"))
    history.happen(published("after", "chat.a"))
    assert await talk.told(1) == ["after"]


async def test_rights_that_change_while_the_token_is_read_are_looked_at_again(
    talk: Talk, hub: Hub, accounts: Accounts
) -> None:
    looked_at = []
    hub.look_again = looked_at.append

    def change() -> None:
        hub.access_changes += 1

    accounts.meanwhile = change
    accounts.tokens["new"] = olga()
    talk.send("Auth", {"token": "new"})
    assert (await talk.hear_data("AuthStatus"))["status"] == "refreshed"
    assert looked_at == list(hub)


# --- The end -------------------------------------------------------------------------------


async def test_a_token_taken_back_is_told(talk: Talk, hub: Hub) -> None:
    (member,) = hub
    renewal.on_access_ended(member, BadToken(TokenProblem.REVOKED))
    assert (await talk.hear_data("AuthStatus"))["status"] == "revoked"


async def test_of_whoever_is_shut_out_nothing_more_is_taken(
    talk: Talk, hub: Hub, history: History
) -> None:
    await talk.subscribe("chat.*")
    (member,) = hub
    talk.send("Subscribe", {"topics": ["updates.*", "users.olga"]})
    talk.send("History", {"topic": "users.olga"})
    hub.shut_out(member)
    history.happen(published("m", "chat.a"))
    await turns()
    assert talk.wire.outbound.empty()
    assert not member.cohorts


async def test_a_role_that_may_not_stay_is_told(talk: Talk, hub: Hub) -> None:
    (member,) = hub
    renewal.on_access_ended(member, Forbidden("role ROLE_AI may not open this endpoint"))
    assert (await talk.hear_data("Error"))["code"] == 403
