"""Who it is comes first: by the first message or in the handshake, again, or not at all."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings

from accounts.tokens import BadToken, TokenProblem
from realtime.budgets import SharedBudget
from realtime.core.errors import Restarting, TryLater
from realtime.core.limits import DialectLimits
from realtime.hub import Hub
from realtime.lobby import Lobby
from realtime.tests.dialects.telemetry.rooms import Client, Server, device_account, operator
from realtime.tests.doubles import principal, user_id_of
from realtime.tests.wire import turns

SUCCESS = {"type": "auth_response", "success": True}


async def failure_of(client: Client) -> tuple[Any, tuple[int, str]]:
    """Return the failed auth_response and the close frame after it."""
    answer = await client.hear()
    assert (answer["type"], answer["success"]) == ("auth_response", False)
    return answer, await client.wire.ending()


# --- First --------------------------------------------------------------------------------


async def test_nothing_is_said_before_auth_and_auth_response_is_the_first_frame(
    server: Server,
) -> None:
    client = await server.stranger()
    await turns()
    assert client.has_heard_all
    client.send(type="auth", token="operator")
    assert await client.hear() == SUCCESS
    assert len(server.hub.members) == 1
    assert len(server.lobby) == 0


@pytest.mark.parametrize(
    "message",
    [
        '{"type":"subscribe","channel":"telemetry"}',
        '{"type":"telemetry","device_id":1,"telemetry":{"t":{"value":1}}}',
        '{"type":"batch","messages":[{"type":"auth","token":"operator"}]}',
        '{"type":"unheard"}',
        "no json",
    ],
)
async def test_any_other_message_before_auth_is_refused_and_the_socket_stays(
    server: Server, message: str
) -> None:
    client = await server.stranger()
    client.say(message)
    assert (await client.hear())["code"] == "not_authenticated"
    assert await client.ask(type="auth", token="operator") == SUCCESS
    assert not server.intake.reports


async def test_a_message_of_the_wrong_form_before_auth_is_refused(server: Server) -> None:
    client = await server.stranger()
    client.say_wrongly()
    code = "text_not_supported" if server.is_packed else "binary_not_supported"
    assert (await client.hear())["code"] == code
    assert await client.ask(type="auth", token="operator") == SUCCESS


@pytest.mark.parametrize("message", [{"type": "auth"}, {"type": "auth", "token": 5}])
async def test_an_auth_without_a_token_is_refused_by_field(
    server: Server, message: dict[str, Any]
) -> None:
    client = await server.stranger()
    refusal = await client.refusal(**message)
    assert refusal["field"] == "token"
    assert await client.ask(type="auth", token="operator") == SUCCESS


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (BadToken(TokenProblem.BAD_SIGNATURE), "invalid_token"),
        (BadToken(TokenProblem.MISSING), "invalid_token"),
        (BadToken(TokenProblem.EXPIRED), "token_expired"),
    ],
)
async def test_a_bad_token_is_told_and_closed_with_1008(
    server: Server, problem: BadToken, error: str
) -> None:
    server.tokens["bad"] = problem
    client = await server.stranger()
    client.send(type="auth", token="bad")
    answer, (code, _) = await failure_of(client)
    assert (answer["error"], code) == (error, 1008)
    assert answer["message"]
    assert not server.hub.members


async def test_a_role_without_the_endpoint_is_forbidden(server: Server) -> None:
    server.tokens["member"] = principal("mia", role="ROLE_MEMBER", endpoints=("pubsub",))
    client = await server.stranger()
    client.send(type="auth", token="member")
    answer, (code, _) = await failure_of(client)
    assert (answer["error"], code) == ("forbidden", 1008)


async def test_a_device_s_account_without_a_device_is_forbidden(server: Server) -> None:
    server.tokens["orphan"] = device_account("orphan")
    client = await server.stranger()
    client.send(type="auth", token="orphan")
    answer, (code, _) = await failure_of(client)
    assert (answer["error"], code) == ("forbidden", 1008)


async def test_accounts_that_cannot_be_asked_are_told_with_1013(server: Server) -> None:
    server.tokens["unlucky"] = TryLater("accounts cannot be checked now: try again later")
    client = await server.stranger()
    client.send(type="auth", token="unlucky")
    answer, (code, _) = await failure_of(client)
    assert (answer["error"], code) == ("unavailable", 1013)


async def test_who_says_nothing_in_time_is_closed_with_1008(
    server: Server, settings: LazySettings
) -> None:
    settings.AUTH_TIMEOUT_SECONDS = 0.02
    client = await server.stranger()
    client.send(type="ping")
    assert (await client.hear())["code"] == "not_authenticated"
    assert await client.wire.ending() == (1008, "no auth within 0.02 s")


async def test_who_leaves_before_auth_is_forgotten(server: Server) -> None:
    client = await server.stranger()
    await turns()
    assert len(server.lobby) == 1
    await client.wire.end()
    assert len(server.lobby) == 0


async def test_the_lobby_is_limited_and_says_so(server: Server) -> None:
    server.lobby = Lobby(1)
    await server.stranger()
    await turns()
    answer, (code, _) = await failure_of(await server.stranger())
    assert (answer["error"], code) == ("too_many_connections", 1008)
    assert (answer["limit"], answer["used"]) == (1, 1)
    assert answer["retry_after_ms"] > 0


async def test_who_waits_in_the_lobby_leaves_with_everybody_else(server: Server) -> None:
    client = await server.stranger()
    await turns()
    server.lobby.dismiss(Restarting("the server restarts"))
    await server.lobby.wait_until_empty()
    assert await client.wire.ending() == (1012, "the server restarts")


# --- Budgets ------------------------------------------------------------------------------


async def test_a_user_s_connections_are_limited_told_and_given_back(server: Server) -> None:
    budget = SharedBudget(DialectLimits(connections_per_user=1))
    first = await server.client(budget=budget)
    second = await server.stranger(server.consumer(budget=budget))
    second.send(type="auth", token="operator")
    answer, (code, _) = await failure_of(second)
    assert (answer["error"], code) == ("too_many_connections", 1008)
    assert (answer["limit"], answer["used"]) == (1, 1)
    await first.wire.end()
    await server.client(budget=budget)


async def test_new_connections_a_minute_are_limited_and_told(server: Server) -> None:
    budget = SharedBudget(DialectLimits(connections_per_minute=1))
    await server.client(budget=budget)
    client = await server.stranger(server.consumer(budget=budget))
    client.send(type="auth", token="operator")
    answer, (code, _) = await failure_of(client)
    assert (answer["error"], code) == ("rate_limited", 1008)
    assert 0 < answer["retry_after_ms"] <= 60_001


# --- In the handshake ---------------------------------------------------------------------


async def test_a_token_of_the_handshake_is_answered_at_once(server: Server) -> None:
    client = await server.stranger(query="token=operator")
    assert await client.hear() == SUCCESS


@pytest.mark.parametrize("query", ["token=", "token", "token=bad", "token=operator&token=operator"])
async def test_a_bad_token_of_the_handshake_is_answered_at_once(server: Server, query: str) -> None:
    answer, (code, _) = await failure_of(await server.stranger(query=query))
    assert (answer["error"], code) == ("invalid_token", 1008)


# --- Another dialect's first message -------------------------------------------------------


async def test_a_first_message_of_another_dialect_is_answered_in_its_words(
    server: Server,
) -> None:
    consumer = server.consumer()
    theirs = {"type": "Error", "data": {"code": 401, "message": "a token", "details": {}}}
    consumer.foreign = lambda text: json.dumps(theirs).encode() if "data" in text else None
    client = await server.stranger(consumer)
    client.send(type="Subscribe", data={})
    if server.is_packed:
        # Whoever has chosen MessagePack is none of theirs.
        assert (await client.hear())["code"] == "not_authenticated"
        return
    assert await client.hear() == theirs
    assert (await client.wire.ending())[0] == 1008


async def test_only_the_first_message_may_be_another_dialect_s(server: Server) -> None:
    consumer = server.consumer()
    consumer.foreign = lambda text: b'"theirs"' if "data" in text else None
    client = await server.stranger(consumer)
    for message in ({"type": "ping"}, {"type": "Subscribe", "data": {}}):
        assert (await client.refusal(**message))["code"] == "not_authenticated"


async def test_an_auth_with_more_in_it_is_ours(server: Server) -> None:
    consumer = server.consumer()
    consumer.foreign = lambda text: b'"theirs"'
    client = await server.stranger(consumer)
    assert await client.ask(type="auth", token="operator", data={}) == SUCCESS


# --- Again --------------------------------------------------------------------------------


async def test_auth_again_refreshes_and_keeps_the_subscriptions(server: Server, hub: Hub) -> None:
    client = await server.client()
    await client.ask(type="subscribe", channel="alerts")
    (member,) = hub
    server.tokens["newer"] = operator(expires_at=datetime.now(UTC) + timedelta(days=1))
    assert await client.ask(type="auth", token="newer") == SUCCESS
    assert member.session.principal is server.tokens["newer"]
    assert list(member.cohorts) == ["alerts.*"]


async def test_auth_again_ends_what_the_role_may_not_hear_any_more(server: Server) -> None:
    client = await server.client()
    await client.ask(type="subscribe", channel="alerts")
    await client.ask(type="subscribe", channel="telemetry", device_id=1)
    narrow = principal("olga", subscribe=("telemetry.*",), endpoints=("telemetry",))
    server.tokens["narrow"] = narrow
    assert await client.ask(type="auth", token="narrow") == {
        "type": "unsubscribed",
        "channel": "alerts",
        "device_id": None,
        "filters": {},
        "position": "e-0",
        "reason": "your role changed",
    }
    assert await client.hear() == SUCCESS


@pytest.mark.parametrize(("token", "error"), [("bad", "invalid_token"), ("viewer", "forbidden")])
async def test_auth_again_with_a_bad_or_another_s_token_ends_with_1008(
    server: Server, token: str, error: str
) -> None:
    client = await server.client()
    client.send(type="auth", token=token)
    answer, (code, _) = await failure_of(client)
    assert (answer["error"], code) == (error, 1008)


async def test_auth_again_stays_open_while_accounts_cannot_be_asked(server: Server) -> None:
    client = await server.client()
    server.tokens["operator"] = TryLater("later")
    assert (await client.ask(type="auth", token="operator"))["error"] == "unavailable"
    assert (await client.ask(type="ping"))["type"] == "pong"


async def test_rights_that_changed_meanwhile_are_looked_at_again(server: Server, hub: Hub) -> None:
    looked_at: list[Any] = []
    hub.look_again = looked_at.append
    client = await server.client()
    server.tokens["newer"] = operator()
    original = server.tokens.get

    class Changing(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            hub.access_changes += 1
            return original(key, default)

    server.tokens = Changing(server.tokens)
    await client.ask(type="auth", token="newer")
    assert len(looked_at) == 1


async def test_an_expired_token_is_told_before_the_close_frame(server: Server) -> None:
    server.tokens["old"] = operator(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    client = await server.stranger()
    client.send(type="auth", token="old")
    heard = [await client.hear() for _ in range(2)]
    assert heard[0] == SUCCESS
    assert heard[1]["code"] == "token_expired"
    assert (await client.wire.ending())[0] == 1008


async def test_a_device_s_sign_in_is_a_sign_of_life(server: Server) -> None:
    await server.client("device")
    await turns()
    assert server.intake.signs_of_life == [1]
    assert server.intake.registry.get(1).account_id == user_id_of("probe")  # type: ignore[union-attr]
