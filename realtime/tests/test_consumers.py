"""The life cycle of a socket: let in or refused with a code, served in order, ended, forgotten."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from realtime import consumers
from realtime.attempts import Attempts
from realtime.budgets import SharedBudget
from realtime.consumers import SocketConsumer
from realtime.core.errors import (
    BadData,
    Disconnect,
    PolicyViolation,
    Restarting,
    TryLater,
)
from realtime.core.frames import Frame
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal, Session
from realtime.hub import Hub
from realtime.tests.doubles import PlainDialect, principal, surgeon
from realtime.tests.wire import Wire, authenticated, turns
from realtime.transports.base import OUTBOUND_HIGH

NO_LIMITS = DialectLimits()


class Echo(SocketConsumer):
    """Answers every text with itself, but for a few words that mean trouble."""

    dialect = PlainDialect("echo")
    endpoint = "pubsub"
    ended_by: list[str]

    async def on_open(self) -> None:
        self.ended_by = []

    async def on_text(self, text: str) -> None:
        if text == "fault":
            raise KeyError("secret detail")
        if text == "nonsense":
            raise BadData("bad frame: not JSON")
        if text == "huge":
            text = "x" * OUTBOUND_HIGH * 2
        self.member.send(Frame(text.encode()))

    async def on_binary(self, data: bytes) -> None:
        self.member.send(Frame(b"binary"))

    async def on_close(self) -> None:
        self.ended_by.append("closed")

    async def on_refused(self, refusal: Disconnect) -> None:
        self.transport.write(Frame(b"refused"))


@pytest.fixture
def hub() -> Hub:
    return Hub()


def consumer(hub: Hub, limits: DialectLimits = NO_LIMITS) -> Echo:
    return Echo(hub, limits)


def wire_of(who: Principal) -> Wire:
    return Wire(**authenticated(who))


async def refusal_of(wire: Wire, application: Any) -> tuple[int, str]:
    """Open, and return how it was refused: after accept, in words, then by a close frame."""
    await wire.opened(application)
    assert await wire.hear() == "refused"
    ending = await wire.ending()
    await wire.end()
    return ending


# --- Being let in --------------------------------------------------------------------------


async def test_who_is_unknown_is_accepted_and_closed_so_that_the_code_is_seen(hub: Hub) -> None:
    wire = Wire(principal=None, user=None, refusal=PolicyViolation("token expired"))
    assert await refusal_of(wire, consumer(hub)) == (1008, "token expired")
    assert not hub.members


async def test_rights_that_change_during_the_handshake_are_looked_at_again(hub: Hub) -> None:
    looked_at: list[str] = []
    hub.look_again = lambda one: looked_at.append(one.session.principal.username)
    late, calm = wire_of(principal("late")), wire_of(principal("calm"))
    late.scope["access_changes"] = calm.scope["access_changes"] = hub.access_changes
    await calm.opened(consumer(hub))
    hub.access_changes += 1
    await late.opened(consumer(hub))
    assert looked_at == ["late"]
    await late.end()
    await calm.end()


async def test_a_role_that_may_not_open_the_endpoint_is_refused(hub: Hub) -> None:
    wire = wire_of(principal(endpoints=("ai",)))
    code, reason = await refusal_of(wire, consumer(hub))
    assert code == 1008
    assert "ROLE_OPERATOR" in reason


async def test_the_dialect_s_connections_are_limited(hub: Hub) -> None:
    budget = SharedBudget(DialectLimits(connections_total=1))
    first = wire_of(principal("other"))
    await first.opened(Echo(hub, NO_LIMITS, budget))
    assert await refusal_of(wire_of(principal()), Echo(hub, NO_LIMITS, budget)) == (
        1013,
        "too many connections: 1 of this server's 1 are open",
    )
    await first.end()


async def test_a_user_s_connections_are_limited_and_given_back(hub: Hub) -> None:
    users = SharedBudget(DialectLimits(connections_per_user=1))
    first = wire_of(principal())
    await first.opened(Echo(hub, NO_LIMITS, users))
    code, reason = await refusal_of(wire_of(principal()), Echo(hub, NO_LIMITS, users))
    assert code == 1013
    assert reason == "too many connections: 1 of your 1 are open"
    other = wire_of(principal("somebody else"))
    await other.opened(Echo(hub, NO_LIMITS, users))
    await other.end()
    await first.end()
    again = wire_of(principal())
    await again.opened(Echo(hub, NO_LIMITS, users))
    again.say("hello")
    assert await again.hear() == "hello"
    await again.end()


async def test_a_user_s_new_connections_a_minute_are_limited(hub: Hub) -> None:
    users = SharedBudget(DialectLimits(connections_per_minute=1))
    wire = wire_of(principal())
    await wire.opened(Echo(hub, NO_LIMITS, users))
    await wire.end()
    code, reason = await refusal_of(wire_of(principal()), Echo(hub, NO_LIMITS, users))
    assert code == 1013
    assert "1 of your 1 a minute" in reason


async def test_the_chosen_subprotocol_is_told(hub: Hub) -> None:
    wire = wire_of(principal())
    wire.scope["accepted_subprotocol"] = "realtime.v1"
    assert await wire.opened(consumer(hub)) == "realtime.v1"
    await wire.end()


# --- Talking -------------------------------------------------------------------------------


async def test_messages_are_answered_one_after_another_and_counted(hub: Hub) -> None:
    wire = wire_of(principal())
    await wire.opened(consumer(hub))
    for text in ("one", "two", "three"):
        wire.say(text)
    assert [await wire.hear() for _ in range(3)] == ["one", "two", "three"]
    (one,) = hub
    assert (one.session.messages_in, one.session.messages_out) == (3, 3)
    assert one.session.address == "192.0.2.1"
    assert one.session.endpoint == "pubsub"
    await wire.end()


async def test_binary_is_told_from_text(hub: Hub) -> None:
    wire = wire_of(principal())
    await wire.opened(consumer(hub))
    wire.say_bytes(b"text")
    assert await wire.hear() == "binary"
    await wire.end()


async def test_who_leaves_is_forgotten(hub: Hub) -> None:
    echo, wire = consumer(hub), wire_of(principal())
    await wire.opened(echo)
    await turns()
    assert len(hub.members) == 1
    await wire.end()
    assert echo.ended_by == ["closed"]
    assert not hub.members
    assert echo._expiry is None


async def test_a_refused_frame_closes_with_its_code_and_reason(hub: Hub) -> None:
    echo, wire = consumer(hub), wire_of(principal())
    await wire.opened(echo)
    wire.say("nonsense")
    assert await wire.ending() == (1003, "bad frame: not JSON")
    assert not hub.members
    assert echo.ended_by == ["closed"]
    wire.say("what still comes is ignored")
    await wire.end()
    assert wire.outbound.empty()


async def test_a_fault_of_ours_is_1011_logged_and_told_to_nobody(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    echo, wire = consumer(hub), wire_of(principal())
    await wire.opened(echo)
    with caplog.at_level(logging.ERROR, "vitalwire.consumers"):
        wire.say("fault")
        assert await wire.ending() == (1011, "internal error")
    assert "secret detail" in caplog.text
    assert echo.ended_by == ["closed"]
    assert not hub.members
    await wire.end()


async def test_a_fault_of_ours_during_the_handshake_is_1011_too(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy(Echo):
        async def on_handshake(self, principal: Principal) -> None:
            raise KeyError("secret detail")

    assert await refusal_of(wire_of(principal()), Clumsy(hub, NO_LIMITS)) == (
        1011,
        "internal error",
    )
    assert "secret detail" in caplog.text
    assert not hub.members


async def test_a_handshake_that_takes_too_long_is_1013(hub: Hub) -> None:
    class Slow(Echo):
        async def on_handshake(self, principal: Principal) -> None:
            await asyncio.Event().wait()

    wire = wire_of(principal())
    wire.scope["handshake_until"] = asyncio.get_running_loop().time()
    code, reason = await refusal_of(wire, Slow(hub, NO_LIMITS))
    assert code == 1013
    assert "again" in reason
    assert not hub.members


async def test_a_server_that_cancels_us_still_has_the_conversation_closed(hub: Hub) -> None:
    echo, wire = consumer(hub), wire_of(principal())
    await wire.opened(echo)
    await turns()
    assert wire.application is not None
    wire.application.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.application
    assert echo.ended_by == ["closed"]
    assert not hub.members


async def test_a_peer_that_does_not_read_is_not_read(hub: Hub) -> None:
    """Else what it asks for piles up: its answers are nobody's to bound."""
    wire = wire_of(principal())
    await wire.opened(consumer(hub))
    wire.jam()
    for text in ("huge", "huge", "huge", "small"):
        wire.say(text)
    await turns(50)
    assert wire.inbound.qsize() == 3
    wire.unjam()
    assert [len(await wire.hear()) for _ in range(4)] == [OUTBOUND_HIGH * 2] * 3 + [5]
    await wire.end()


async def test_a_peer_that_does_not_read_can_be_ended(hub: Hub) -> None:
    wire = wire_of(principal())
    await wire.opened(consumer(hub))
    wire.jam()
    wire.say("huge")
    await turns(20)
    (one,) = hub
    one.end(Restarting("the server restarts"))
    async with asyncio.timeout(5):
        await hub.wait_until_empty()
    wire.unjam()
    assert len(await wire.hear()) == OUTBOUND_HIGH * 2
    assert await wire.ending() == (1012, "the server restarts")
    await wire.end()


# --- Too much ------------------------------------------------------------------------------


async def test_a_message_above_the_limit_ends_with_1009(hub: Hub) -> None:
    wire = wire_of(principal())
    await wire.opened(consumer(hub, DialectLimits(message_bytes=8)))
    wire.say("12345678")
    assert await wire.hear() == "12345678"
    wire.say("123456789")
    assert await wire.ending() == (1009, "a message has at most 8 bytes")
    await wire.end()


async def test_a_message_is_measured_in_bytes(hub: Hub) -> None:
    wire = wire_of(principal())
    await wire.opened(consumer(hub, DialectLimits(message_bytes=8)))
    wire.say("✓✓")
    assert await wire.hear() == "✓✓"
    wire.say("✓✓✓")
    assert (await wire.ending())[0] == 1009
    await wire.end()


async def test_who_sends_too_fast_is_slowed_to_the_rate(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds + 1e-9

    echo, wire = consumer(hub, DialectLimits(messages_per_second=10)), wire_of(principal())
    monkeypatch.setattr(consumers.time, "monotonic", lambda: now)
    monkeypatch.setattr(consumers.asyncio, "sleep", sleep)
    await wire.opened(echo)
    for number in range(40):
        wire.say(str(number))
    assert [await wire.hear() for _ in range(40)] == [str(number) for number in range(40)]
    # Ten at once, and ten a second from then on.
    assert now == pytest.approx(3.0)
    monkeypatch.undo()
    await wire.end()


# --- For the operators ---------------------------------------------------------------------


async def noted(echo: Echo, wire: Wire, *, say: str = "", leave_with: int = 0) -> list[dict]:
    """Return the attempts that one connection leaves behind."""
    echo.attempts = Attempts()
    await wire.opened(echo)
    await turns()
    if say:
        wire.say(say)
        await turns()
    wire.leave(leave_with or 1001)
    assert wire.application is not None
    await wire.application
    return echo.attempts._pending


async def test_who_is_refused_is_noted_with_name_address_and_reason(hub: Hub) -> None:
    wire = wire_of(principal(endpoints=("ai",)))
    (row,) = await noted(consumer(hub), wire)
    del row["at"]
    assert row == {
        "reason": "forbidden",
        "username": "olga",
        "address": "192.0.2.1",
        "endpoint": "pubsub",
        "detail": "role ROLE_OPERATOR may not open this endpoint",
    }


async def test_who_is_nobody_is_noted_too(hub: Hub) -> None:
    refusal = PolicyViolation("invalid token", kind="invalid_token")
    wire = Wire(principal=None, user=None, refusal=refusal)
    (row,) = await noted(consumer(hub), wire)
    assert (row["reason"], row["username"]) == ("invalid_token", "")


async def test_a_used_up_budget_is_noted_by_its_kind(hub: Hub) -> None:
    budget = SharedBudget(DialectLimits(connections_per_user=1))
    budget.admit(str(principal().user_id), 0.0)
    (row,) = await noted(Echo(hub, NO_LIMITS, budget), wire_of(principal()))
    assert (row["reason"], row["username"]) == ("too_many_connections", "olga")


async def test_who_is_cut_is_noted(hub: Hub) -> None:
    (row,) = await noted(consumer(hub), wire_of(principal()), say="nonsense")
    assert (row["reason"], row["username"]) == ("bad_data", "olga")


async def test_what_the_server_cut_by_itself_is_noted(hub: Hub) -> None:
    (row,) = await noted(consumer(hub), wire_of(principal()), leave_with=1009)
    assert (row["reason"], row["username"]) == ("too_big", "olga")


async def test_who_leaves_or_whose_token_runs_out_is_not_noted(hub: Hub) -> None:
    assert await noted(consumer(hub), wire_of(principal())) == []
    ended = datetime.now(UTC) - timedelta(seconds=1)
    assert await noted(consumer(hub), wire_of(principal(expires_at=ended))) == []


async def test_whoever_is_watched_is_heard_both_ways(hub: Hub) -> None:
    class Ear:
        heard: list[tuple[str, str | bytes]] = []

        def received(self, session: Session, data: str | bytes) -> None:
            self.heard.append(("received", data))

        def sent(self, session: Session, data: str | bytes) -> None:
            self.heard.append(("sent", data))

    wire = wire_of(principal())
    await wire.opened(consumer(hub))
    await turns()
    (one,) = hub
    wire.say("before")
    assert await wire.hear() == "before"
    one.session.tap = Ear()
    wire.say("one")
    assert await wire.hear() == "one"
    assert Ear.heard == [("received", "one"), ("sent", b"one")]
    await wire.end()


# --- Being ended ---------------------------------------------------------------------------


async def test_ending_a_member_closes_with_code_and_reason_and_holds_nobody_up(hub: Hub) -> None:
    wire = wire_of(principal())
    await wire.opened(consumer(hub))
    await turns()
    (one,) = hub
    one.end(TryLater("you have stopped reading"))
    assert await wire.ending() == (1013, "you have stopped reading")
    await wire.end()


async def test_an_expired_token_is_closed_with_1008(hub: Hub) -> None:
    ended = datetime.now(UTC) - timedelta(seconds=1)
    wire = wire_of(principal(expires_at=ended))
    await wire.opened(consumer(hub))
    assert await wire.ending() == (1008, "token expired")
    await wire.end()


async def test_a_renewed_token_is_watched_instead_of_the_old_one(hub: Hub) -> None:
    echo, wire = consumer(hub), wire_of(principal())
    await wire.opened(echo)
    await turns()
    before = echo._expiry
    echo.member.session.principal = surgeon()
    echo.watch_expiry()
    assert before is not None
    assert before.cancelled()
    assert echo._expiry is not None
    assert not echo._expiry.cancelled()
    await wire.end()
    assert echo._expiry is None
