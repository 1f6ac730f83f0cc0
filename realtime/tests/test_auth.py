"""Who opens a socket, and who may stay: tokens from three places, looked at again on change."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from accounts import roles
from accounts.models import User
from accounts.tokens import BadToken, TokenProblem, issue_access
from realtime import auth as module
from realtime import calls
from realtime.auth import AccessWatch, TokenAuth, tokens_in
from realtime.calls import call
from realtime.core.errors import Disconnect, PolicyViolation, TryLater
from realtime.core.events import AccessChanged
from realtime.core.session import Principal
from realtime.hub import Hub, Member
from realtime.tests.doubles import NOW, FakeTransport, member, principal, surgeon, user_id_of
from realtime.tests.wire import Wire, turns

TOKEN, OTHER = "aaa.bbb.ccc", "ddd.eee.fff"


def bearer(token: str, *, scheme: bytes = b"Bearer") -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", scheme + b" " + token.encode())]


# --- Where a token can be ------------------------------------------------------------------


@pytest.mark.parametrize(
    "scope",
    [
        {"query_string": f"token={TOKEN}".encode()},
        {"query_string": f"surgery=x&token={TOKEN}&y".encode()},
        {"headers": bearer(TOKEN)},
        {"headers": bearer(TOKEN, scheme=b"bearer")},
        {"subprotocols": [f"access_token.{TOKEN}"]},
        {"subprotocols": ["realtime.v1", f"access_token.{TOKEN}"]},
    ],
)
def test_a_token_is_found_in_query_header_and_subprotocol(scope: dict[str, Any]) -> None:
    assert tokens_in(scope) == [TOKEN]


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"query_string": b"Token=x&access_token=y"},
        {"headers": [(b"authorization", b"Basic eDp5")]},
        {"headers": [(b"cookie", f"jwt-token={TOKEN}; sessionid=x".encode())]},
        {"subprotocols": ["graphql-ws", "token.x"]},
        {"query_string": b"a=1&" * 40 + b"token=x"},
    ],
)
def test_nothing_else_is_a_credential(scope: dict[str, Any]) -> None:
    assert tokens_in(scope) == []


@pytest.mark.parametrize(
    "scope",
    [
        {"query_string": b"token="},
        {"query_string": b"token"},
        {"headers": bearer("")},
        {"headers": [(b"authorization", b"Bearer")]},
        {"subprotocols": ["access_token."]},
    ],
)
def test_an_empty_credential_is_one(scope: dict[str, Any]) -> None:
    assert tokens_in(scope) == [""]


@pytest.mark.parametrize("query", [b"token=%ff%fe", b"token=\xff\xfe", b"token=%00", b"token=%"])
def test_a_token_that_is_no_text_is_read_and_left_to_be_refused(query: bytes) -> None:
    assert len(tokens_in({"query_string": query})) == 1


# --- The middleware ------------------------------------------------------------------------


class Inner:
    """Keeps the scope it was given."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope = scope

    @property
    def refusal(self) -> Disconnect:
        refusal = self.scope["refusal"]
        assert isinstance(refusal, Disconnect)
        return refusal


async def authenticated(**scope: Any) -> Inner:
    inner = Inner()
    await TokenAuth(inner, Hub())(Wire(**scope).scope, None, None)
    return inner


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Principal | Exception]:
    """Stand in for the accounts: token -> who that is, or what is wrong with it."""
    known: dict[str, Principal | Exception] = {TOKEN: surgeon(), OTHER: principal()}

    def look_up(token: str) -> Principal:
        answer = known.get(token, BadToken(TokenProblem.MALFORMED))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "principal_for_token", look_up)
    return known


@pytest.mark.usefixtures("accounts")
async def test_a_good_token_says_who_it_is_and_what_the_document_keeps() -> None:
    inner = await authenticated(headers=bearer(TOKEN))
    assert inner.scope["principal"] == inner.scope["user"] == surgeon_of(inner)
    assert inner.scope["session_attributes"] == {
        "SURGEON_ID": str(user_id_of("ana")),
        "USERNAME": "ana",
        "ROLE": "ROLE_SURGEON",
    }
    assert "refusal" not in inner.scope


def surgeon_of(inner: Inner) -> Principal:
    who = inner.scope["principal"]
    assert isinstance(who, Principal)
    assert who.username == "ana"
    return who


@pytest.mark.usefixtures("accounts")
async def test_no_token_is_refused() -> None:
    inner = await authenticated()
    assert isinstance(inner.refusal, PolicyViolation)
    assert inner.refusal.reason == "a token is required"
    assert inner.scope["principal"] is None
    assert inner.scope["user"] is None
    assert inner.scope["session_attributes"] == {}


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    "scope",
    [
        {"query_string": f"token={TOKEN}&token={OTHER}".encode()},
        {"query_string": f"token={TOKEN}".encode(), "headers": bearer(OTHER)},
        {"headers": bearer(TOKEN), "subprotocols": [f"access_token.{OTHER}"]},
        {"query_string": f"token={TOKEN}&token=".encode()},
        {"subprotocols": [f"access_token.{TOKEN}", f"access_token.{OTHER}"]},
    ],
)
async def test_two_different_tokens_are_refused(scope: dict[str, Any]) -> None:
    inner = await authenticated(**scope)
    assert isinstance(inner.refusal, PolicyViolation)
    assert "more than one token" in inner.refusal.reason
    assert inner.scope["principal"] is None


@pytest.mark.parametrize("problem", TokenProblem)
async def test_every_bad_token_is_refused_in_public_words(
    accounts: dict[str, Principal | Exception], problem: TokenProblem
) -> None:
    accounts[TOKEN] = BadToken(problem)
    inner = await authenticated(headers=bearer(TOKEN))
    assert isinstance(inner.refusal, PolicyViolation)
    expected = "token expired" if problem == TokenProblem.EXPIRED else "invalid token"
    assert inner.refusal.reason == expected


async def test_accounts_that_cannot_be_read_are_no_fault_of_the_token(
    accounts: dict[str, Principal | Exception],
) -> None:
    accounts[TOKEN] = OperationalError("the database is away")
    inner = await authenticated(headers=bearer(TOKEN))
    assert isinstance(inner.refusal, TryLater)


@pytest.mark.django_db(transaction=True)
async def test_a_real_token_of_a_real_account_is_read() -> None:
    user = await call(User.objects.create_user, "dr grey", role=roles.SURGEON)
    inner = await authenticated(headers=bearer(await call(issue_access, user)))
    who = inner.scope["principal"]
    assert (who.user_id, who.role) == (user.pk, roles.SURGEON)
    assert who.may_open("simulation")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud800", "x" * 4096, "\x00", "é.é.é"])
async def test_garbage_for_a_token_is_refused_and_nothing_worse(token: str) -> None:
    inner = await authenticated(subprotocols=[f"access_token.{token}"])
    assert isinstance(inner.refusal, PolicyViolation)
    assert inner.refusal.reason == "invalid token"


@pytest.mark.django_db(transaction=True)
async def test_an_expired_token_is_told_apart_and_no_token_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    user = await call(User.objects.create_user, "dr grey", role=roles.SURGEON)
    past = datetime.now(UTC) - timedelta(days=2)
    token = await call(issue_access, user, now=past, lifetime=timedelta(hours=1))
    with caplog.at_level(logging.DEBUG):
        inner = await authenticated(query_string=f"token={token}".encode())
    assert inner.refusal.reason == "token expired"
    assert token not in caplog.text


# --- Looking again -------------------------------------------------------------------------


class Watched:
    """A hub with a watch over it, and accounts that say what somebody may do now."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.narrowed: list[tuple[Member, list[str]]] = []
        self.ended: list[tuple[Member, str]] = []
        self.watch = AccessWatch(
            self.hub,
            on_narrowed=lambda one, ended: self.narrowed.append((one, ended)),
            on_ended=lambda one, why: self.ended.append((one, type(why).__name__)),
        )
        self.now: dict[str, Principal | Exception] = {}
        self.looks: list[str] = []

    def look(self, before: Principal) -> Principal:
        self.looks.append(before.username)
        answer = self.now.get(before.username, before)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def join(self, who: Principal, *patterns: str) -> tuple[Member, FakeTransport]:
        transport = FakeTransport()
        one = member(who, transport=transport)
        self.hub.join(one)
        for pattern in patterns:
            self.hub.subscribe(one, pattern)
        return one, transport

    async def change(self, **whom: Any) -> None:
        await self.watch.on_access_changed(AccessChanged(id="a", at=NOW, **whom))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr(module, "principal_again", watched.look)
    monkeypatch.setattr(calls, "AWAY_SECONDS", 0)
    return watched


@pytest.mark.parametrize(
    ("whom", "looked_at"),
    [
        ({"user_id": user_id_of("ana")}, ["ana"]),
        ({"role": "ROLE_SURGEON"}, ["ana", "bea"]),
        ({"token_id": "token of olga"}, ["olga"]),
        ({"token_id": "token of nobody"}, []),
    ],
)
async def test_only_those_concerned_are_looked_at(
    watched: Watched, whom: dict[str, Any], looked_at: list[str]
) -> None:
    for who in (surgeon("ana"), surgeon("bea"), principal("olga")):
        watched.join(who)
    await watched.change(**whom)
    assert sorted(watched.looks) == looked_at


async def test_a_revoked_token_ends_the_connection(watched: Watched) -> None:
    one, transport = watched.join(principal("olga"), "chat.*")
    _, other = watched.join(principal("otto"))
    watched.now["olga"] = BadToken(TokenProblem.REVOKED)
    await watched.change(token_id="token of olga")
    assert watched.ended == [(one, "BadToken")]
    assert not one.cohorts, "it hears nothing more, however long it takes to leave"
    assert isinstance(transport.ending, PolicyViolation)
    assert transport.ending.reason == "invalid token"
    assert other.ending is None


async def test_a_role_that_may_not_open_this_endpoint_ends_the_connection(
    watched: Watched,
) -> None:
    _, transport = watched.join(principal("olga"))
    watched.now["olga"] = principal("olga", role="ROLE_AI", endpoints=("ai",))
    await watched.change(user_id=user_id_of("olga"))
    assert isinstance(transport.ending, PolicyViolation)
    assert "ROLE_AI" in transport.ending.reason


async def test_a_narrower_role_keeps_the_connection_and_is_told_what_ended(
    watched: Watched,
) -> None:
    one, transport = watched.join(principal("olga"), "surgeries.*", "chat.*")
    watched.now["olga"] = principal("olga", subscribe=("chat.**",))
    await watched.change(user_id=user_id_of("olga"))
    assert transport.ending is None
    assert watched.narrowed == [(one, ["surgeries.*"])]
    assert one.session.principal.subscribe == ("chat.**",)


async def test_a_change_that_takes_nothing_away_is_told_to_nobody(watched: Watched) -> None:
    watched.join(principal("olga"), "chat.*")
    await watched.change(role="ROLE_OPERATOR")
    assert watched.narrowed == []


async def test_a_database_that_is_away_keeps_nobody_in_for_good(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, transport = watched.join(principal("olga"))
    answers: list[Exception] = [OperationalError("away")] * 3 + [BadToken(TokenProblem.REVOKED)]

    def look(before: Principal) -> Principal:
        raise answers.pop(0)

    monkeypatch.setattr(module, "principal_again", look)
    await watched.change(token_id="token of olga")
    assert isinstance(transport.ending, PolicyViolation)


async def test_of_two_changes_the_later_look_is_the_one_that_counts(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an answer that was read first and came last would give a right back."""
    one, _ = watched.join(principal("olga"))
    first_may_answer = asyncio.Event()
    reads = []

    async def slow_call(look: Callable[[Principal], Principal], before: Principal) -> Principal:
        answer = look(before)
        reads.append(answer)
        if len(reads) == 1:
            await first_may_answer.wait()
        return answer

    monkeypatch.setattr(module, "call", slow_call)
    watched.now["olga"] = principal("olga", subscribe=("surgeries.**", "chat.**"))
    first = asyncio.ensure_future(watched.change(user_id=user_id_of("olga")))
    await turns()
    watched.now["olga"] = principal("olga", subscribe=("chat.**",))
    second = asyncio.ensure_future(watched.change(user_id=user_id_of("olga")))
    await turns()
    first_may_answer.set()
    await asyncio.gather(first, second)
    assert one.session.principal.subscribe == ("chat.**",)
