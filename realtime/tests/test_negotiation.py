"""What is refused before accept, which subprotocol is selected, and who answers at `/ws`."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from realtime.core.limits import ConnectionBudget
from realtime.negotiation import (
    TELEMETRY,
    Gate,
    deny,
    endpoint_of,
    pubsub_answer,
    subprotocol_for,
)
from realtime.tests.wire import Wire, turns

TOKEN = "access_token.aaa.bbb.ccc"
OURS = "https://clinic.example"


class Inner:
    """Accepts, and stays until it is let go."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self.selected: list[str | None] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.selected.append(scope["accepted_subprotocol"])
        await receive()
        await send({"type": "websocket.accept"})
        await self.leave.wait()


def unlimited() -> ConnectionBudget:
    return ConnectionBudget(connections=0, per_minute=0)


def gate(
    inner: Any = None,
    *,
    origins: tuple[str, ...] = ("*",),
    budget: ConnectionBudget | None = None,
    is_draining: bool = False,
    noted: list[tuple[str, str]] | None = None,
) -> Gate:
    noted = [] if noted is None else noted
    return Gate(
        inner or Inner(),
        origins=list(origins),
        budget=budget or unlimited(),
        is_draining=lambda: is_draining,
        note_refusal=lambda reason, scope, detail: noted.append((reason, detail)),
    )


def from_origin(*origins: bytes) -> Wire:
    return Wire(headers=[(b"host", b"x"), *((b"origin", origin) for origin in origins)])


async def is_let_in(wire: Wire, application: Any) -> bool:
    """Tell accept from a denial, which is a close before accept: HTTP 403."""
    wire.open(application)
    answer = await wire.next()
    assert answer["type"] in ("websocket.accept", "websocket.close")
    if answer["type"] == "websocket.close":
        assert wire.application is not None
        await wire.application
        return False
    return True


# --- Origins -------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b"", b"http://["])
async def test_any_origin_means_any(origin: bytes) -> None:
    assert await is_let_in(from_origin(origin), gate())


@pytest.mark.parametrize("origin", [b"https://clinic.example", b"HTTPS://Clinic.Example"])
async def test_a_listed_origin_is_let_in(origin: bytes) -> None:
    assert await is_let_in(from_origin(origin), gate(origins=(OURS,)))


async def test_a_client_that_is_no_browser_sends_none_and_is_let_in() -> None:
    assert await is_let_in(from_origin(), gate(origins=(OURS,)))


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example",
        b"http://clinic.example",
        b"https://clinic.example:8443",
        b"https://clinic.example.evil.example",
        b"https://evilclinic.example",
        b"https://clinic.example@evil.example",
        b"https://user@clinic.example",
        b"//clinic.example",
        b"clinic.example",
        b"null",
        b"",
        b"*",
        b"http://[",
        b"https://clinic.example\xff",
    ],
)
async def test_every_other_origin_is_denied(origin: bytes) -> None:
    assert not await is_let_in(from_origin(origin), gate(origins=(OURS,)))


async def test_a_second_origin_must_be_listed_too() -> None:
    wire = from_origin(OURS.encode(), b"https://evil.example")
    assert not await is_let_in(wire, gate(origins=(OURS,)))


# --- Budgets and draining ------------------------------------------------------------------


async def test_an_address_over_its_connections_is_denied_until_one_leaves() -> None:
    inner = Inner()
    door = gate(inner, budget=ConnectionBudget(connections=1, per_minute=0))
    first = Wire()
    assert await is_let_in(first, door)
    assert not await is_let_in(Wire(), door)
    assert await is_let_in(Wire(client=("192.0.2.9", 1)), door)
    inner.leave.set()
    assert first.application is not None
    await first.application
    assert await is_let_in(Wire(), door)


async def test_an_address_over_its_handshakes_is_denied() -> None:
    door = gate(budget=ConnectionBudget(connections=0, per_minute=2))
    assert [await is_let_in(Wire(), door) for _ in range(3)] == [True, True, False]


async def test_an_application_that_fails_gives_its_place_back() -> None:
    async def fails(scope: dict[str, Any], receive: Any, send: Any) -> None:
        raise LookupError("a fault")

    door = gate(fails, budget=ConnectionBudget(connections=1, per_minute=0))
    for _ in range(3):
        with pytest.raises(LookupError):
            await door({**Wire().scope}, None, None)


async def test_a_forbidden_origin_is_not_counted_against_the_address() -> None:
    budget = ConnectionBudget(connections=0, per_minute=1)
    door = gate(origins=(OURS,), budget=budget)
    assert not await is_let_in(from_origin(b"https://evil.example"), door)
    assert await is_let_in(from_origin(OURS.encode()), door)


async def test_a_connection_without_an_address_is_let_in() -> None:
    assert await is_let_in(Wire(client=None), gate())


async def test_while_draining_nobody_is_let_in() -> None:
    assert not await is_let_in(Wire(), gate(is_draining=True))


async def test_an_unknown_path_is_denied_before_accept() -> None:
    wire = Wire()
    wire.open(deny)
    assert (await wire.next())["type"] == "websocket.close"
    await turns()
    assert wire.outbound.empty()


# --- For the operators ---------------------------------------------------------------------


async def test_a_forbidden_origin_is_noted_with_what_it_was() -> None:
    noted: list[tuple[str, str]] = []
    door = gate(origins=(OURS,), noted=noted)
    assert not await is_let_in(from_origin(b"https://evil.example"), door)
    assert noted == [("forbidden_origin", "https://evil.example")]


async def test_an_address_over_its_budget_is_noted() -> None:
    noted: list[tuple[str, str]] = []
    door = gate(budget=ConnectionBudget(connections=0, per_minute=1), noted=noted)
    assert [await is_let_in(Wire(), door) for _ in range(2)] == [True, False]
    assert noted == [("address_budget", "")]


async def test_who_comes_while_draining_did_nothing_wrong() -> None:
    noted: list[tuple[str, str]] = []
    assert not await is_let_in(Wire(), gate(is_draining=True, noted=noted))
    assert noted == []


# --- Subprotocols --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offers", "selected"),
    [
        ([], None),
        (["realtime.v1"], "realtime.v1"),
        (["realtime.v1", TOKEN], "realtime.v1"),
        ([TOKEN, "realtime.v1"], "realtime.v1"),
        ([TOKEN], TOKEN),
        ([TOKEN, "graphql-ws"], None),
        (["graphql-ws"], None),
    ],
)
def test_a_token_is_echoed_only_when_it_is_the_sole_offer(
    offers: list[str], selected: str | None
) -> None:
    assert subprotocol_for(offers) == selected


@pytest.mark.parametrize(
    ("path", "offers", "selected"),
    [
        ("/ws", ["vitalwire.msgpack"], "vitalwire.msgpack"),
        ("/ws/device", ["vitalwire.msgpack"], "vitalwire.msgpack"),
        ("/ws/device", [TOKEN, "vitalwire.msgpack"], "vitalwire.msgpack"),
        ("/ws/telemetry/", ["realtime.v1", TOKEN, "vitalwire.msgpack"], "vitalwire.msgpack"),
        ("/ws/device", [TOKEN], TOKEN),
        ("/ws/device", ["vitalwire.Msgpack"], None),
        # A token on /ws means pubsub, which has no such words; nor has surgery.
        ("/ws", ["vitalwire.msgpack", TOKEN], None),
        ("/ws", ["vitalwire.msgpack", "realtime.v1", TOKEN], "realtime.v1"),
        ("/ws/pubsub", ["vitalwire.msgpack"], None),
        ("/ws/simulation", ["vitalwire.msgpack"], None),
    ],
)
async def test_messagepack_is_selected_where_telemetry_is_spoken(
    path: str, offers: list[str], selected: str | None
) -> None:
    inner = Inner()
    assert await is_let_in(Wire(path=path, subprotocols=offers), gate(inner))
    assert inner.selected == [selected]


def test_every_path_of_telemetry_is_known_to_be_one() -> None:
    routes = (Path(__file__).parents[1] / "routing.py").read_text()
    served = set(re.findall(r'"(/ws/[a-z]+)": (?:lambda: )?telemetry\b', routes))
    assert served | {"/ws"} == TELEMETRY


async def test_the_selection_is_handed_to_the_application() -> None:
    inner = Inner()
    assert await is_let_in(Wire(subprotocols=["realtime.v1", TOKEN]), gate(inner))
    assert inner.selected == ["realtime.v1"]


# --- Whose /ws it is -----------------------------------------------------------------------

CREDENTIALS = [
    {"query_string": b"token=x"},
    {"query_string": b"token="},
    {"query_string": b"token"},
    {"query_string": b"other=1&token=x"},
    {"headers": [(b"authorization", b"Bearer x")]},
    {"headers": [(b"authorization", b"bearer ")]},
    {"subprotocols": ["access_token.x"]},
    {"subprotocols": ["access_token."]},
]


@pytest.mark.parametrize("scope", CREDENTIALS, ids=str)
def test_a_credential_on_ws_even_an_empty_one_means_pubsub(scope: dict[str, Any]) -> None:
    assert endpoint_of("/ws", scope) == "/ws/pubsub"


NO_CREDENTIALS = [
    {},
    {"query_string": b"Token=x"},
    {"headers": [(b"cookie", b"sessionid=x"), (b"authorization", b"Basic x")]},
    {"subprotocols": ["realtime.v1"]},
]


@pytest.mark.parametrize("scope", NO_CREDENTIALS, ids=str)
def test_none_on_ws_means_telemetry(scope: dict[str, Any]) -> None:
    assert endpoint_of("/ws", scope) == "/ws"


@pytest.mark.parametrize("path", ["/ws/device", "/ws/telemetry", "/ws/pubsub", "/ws/else"])
def test_every_other_path_means_what_it_says(path: str) -> None:
    assert endpoint_of(path, {"query_string": b"token=x"}) == path


@pytest.mark.parametrize(
    "first",
    [
        '{"type":"Subscribe","data":{"topics":["chat.*"]}}',
        '{"type":"Ping","data":{}}',
        '{"data":null,"type":"x","id":"1"}',
    ],
)
def test_a_first_message_in_pubsub_s_shape_gets_its_error_401(first: str) -> None:
    answer = json.loads(pubsub_answer(first) or b"")
    assert (answer["type"], answer["data"]["code"]) == ("Error", 401)


@pytest.mark.parametrize(
    "first",
    ['{"type":"auth","token":"x"}', '{"type":"ping"}', '{"data":{}}', "[]", "hello", "[" * 9999],
)
def test_any_other_first_message_does_not(first: str) -> None:
    assert pubsub_answer(first) is None
