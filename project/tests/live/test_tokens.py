"""Every way in which a token can be bad, and every role, on both surgery endpoints."""

import time
import uuid
from collections.abc import Callable

import pytest
from django.conf import settings

from project.tests.live.raw import Ended, RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import assert_refused, new_surgeon
from project.tests.live.tokens import ABSENT, claims_of, sign

Connect = Callable[..., RawWebSocket]
ENDPOINTS = {"/ws/simulation": "surgeon_master", "/ws/ai": "ia_justina"}

BAD_TOKENS: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "garbage": lambda _: "garbage",
    "three dots": lambda _: "a.b.c",
    "4 KB": lambda _: "x" * 4096,
    "a NUL": lambda name: sign(claims_of(name)) + "\x00",
    "expired": lambda name: sign(claims_of(name, exp=int(time.time()) - 60)),
    "not valid yet": lambda name: sign(claims_of(name, nbf=int(time.time()) + 600)),
    "issued in the future": lambda name: sign(claims_of(name, iat=int(time.time()) + 600)),
    "an expiry that is text": lambda name: sign(claims_of(name, exp="tomorrow")),
    "an endless expiry": lambda name: sign(claims_of(name, exp=float("inf"))),
    "no expiry": lambda name: sign(claims_of(name, exp=ABSENT)),
    "another issuer": lambda name: sign(claims_of(name, iss="Somebody")),
    "part of the issuer": lambda name: sign(claims_of(name, iss="Justina")),
    "a list of issuers": lambda name: sign(claims_of(name, iss=[settings.JWT_ISSUER])),
    "no issuer": lambda name: sign(claims_of(name, iss=ABSENT)),
    "another key": lambda name: sign(claims_of(name), key="another key of more than 32 bytes"),
    "an empty key": lambda name: sign(claims_of(name), key=""),
    "alg none": lambda name: sign(claims_of(name), header={"alg": "none"}).rpartition(".")[0] + ".",
    "alg NONE": lambda name: sign(claims_of(name), header={"alg": "NONE"}),
    "alg RS256": lambda name: sign(claims_of(name), header={"alg": "RS256", "typ": "JWT"}),
    "alg ES256": lambda name: sign(claims_of(name), header={"alg": "ES256", "typ": "JWT"}),
    "HS512": lambda name: sign(claims_of(name), algorithm="HS512"),
    "no alg": lambda name: sign(claims_of(name), header={"typ": "JWT"}),
    "an unknown crit": lambda name: sign(
        claims_of(name), header={"alg": "HS256", "crit": ["x"], "x": 1}
    ),
    "a damaged signature": lambda name: sign(claims_of(name))[:-4] + "AAAA",
    "no signature": lambda name: sign(claims_of(name)).rpartition(".")[0],
    "a payload exchanged": lambda name: _with_payload_of(
        sign(claims_of(name)), sign(claims_of("admin"))
    ),
    "a payload that is a list": lambda _: sign([1, 2]),
    "a deep payload": lambda _: sign(b"[" * 3000),
    "no user id": lambda name: sign(claims_of(name, userId=ABSENT)),
    "a user id that is no UUID": lambda name: sign(claims_of(name, userId="7")),
    "a user id that is an object": lambda name: sign(claims_of(name, userId={})),
    "an unknown user": lambda name: sign(claims_of(name, userId=str(uuid.uuid4()))),
    "no role": lambda name: sign(claims_of(name, role=ABSENT)),
    "an unknown role": lambda name: sign(claims_of(name, role="ROLE_KING")),
    "a list of roles": lambda name: sign(claims_of(name, role=["ROLE_SURGEON", "ROLE_AI"])),
    "a role that is not the account's": lambda name: sign(claims_of(name, role="ROLE_ADMIN")),
    "no subject": lambda name: sign(claims_of(name, sub=ABSENT)),
    "another's name": lambda name: sign(claims_of(name, sub="admin")),
    "a refresh token": lambda name: sign(claims_of(name, token_type="refresh")),
}


def _with_payload_of(token: str, other: str) -> str:
    head, _, signature = token.split(".")
    return ".".join([head, other.split(".")[1], signature])


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_bad_token_is_closed_with_1008(
    server: Server, connect: Connect, path: str, kind: str
) -> None:
    ws = connect(server.ws_url(path, token=BAD_TOKENS[kind](ENDPOINTS[path])))
    assert ws.response.status == 101
    ending = ws.ending()
    assert_refused(ending, 1008)
    # Only expiry is told apart.
    assert ("expired" in ending.reason) == (kind == "expired")


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("query", ["", "?token", "?token=", "?Token=x", "?other=1"])
def test_no_token_is_closed_with_1008(
    server: Server, connect: Connect, path: str, query: str
) -> None:
    assert_refused(connect(server.ws_url(path) + query).ending(), 1008)


@pytest.mark.parametrize(
    "escape",
    ["%ED%A0%80", "%FF", "%00", "%C3%B1", "%F0%9F%98%80"],
    ids=["surrogate", "invalid", "NUL", "ñ", "emoji"],
)
def test_a_token_of_odd_characters_is_closed_with_1008(
    server: Server, connect: Connect, escape: str
) -> None:
    token = server.token_for("surgeon_master")
    for value in (escape, f"a.{escape}.c", token + escape):
        url = server.ws_url("/ws/simulation") + f"?token={value}"
        assert_refused(connect(url).ending(), 1008)


def test_a_token_with_a_lone_surrogate_in_its_name_is_closed_with_1008(
    server: Server, connect: Connect
) -> None:
    token = server.token_for("surgeon_master", sub="\ud800")
    assert_refused(connect(server.ws_url("/ws/simulation", token=token)).ending(), 1008)


@pytest.mark.parametrize("second", ["the same", "another good one", "a bad one"])
def test_two_tokens_are_closed_with_1008(server: Server, connect: Connect, second: str) -> None:
    first = server.token_for("surgeon_master")
    other = {
        "the same": first,
        "another good one": server.token_for("surgeon_master", exp=int(time.time()) + 60),
        "a bad one": "x",
    }[second]
    url = server.ws_url("/ws/simulation", token=first) + f"&token={other}"
    assert_refused(connect(url).ending(), 1008)


def test_a_token_in_the_query_and_another_in_the_header_are_closed_with_1008(
    server: Server, connect: Connect
) -> None:
    other = server.token_for("surgeon_master", exp=int(time.time()) + 60)
    url = server.ws_url("/ws/simulation", token=server.token_for("surgeon_master"))
    assert_refused(connect(url, headers={"Authorization": f"Bearer {other}"}).ending(), 1008)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_inactive_user_is_closed_with_1008(server: Server, connect: Connect, path: str) -> None:
    role = "ROLE_SURGEON" if path == "/ws/simulation" else "ROLE_AI"
    username = new_surgeon(role, is_active=False)
    assert_refused(connect(server.ws_url(path, token=server.token_for(username))).ending(), 1008)


@pytest.mark.parametrize(
    ("path", "role"),
    [
        *(("/ws/simulation", role) for role in ("ROLE_AI", "ROLE_OPERATOR", "ROLE_ADMIN")),
        *(("/ws/ai", role) for role in ("ROLE_SURGEON", "ROLE_MEMBER", "ROLE_ADMIN")),
    ],
)
def test_another_role_is_closed_with_1008_and_hears_nothing(
    server: Server, connect: Connect, path: str, role: str
) -> None:
    ws = connect(server.ws_url(path, token=server.token_for(new_surgeon(role))))
    with pytest.raises(Ended) as ended:
        ws.read()
    assert_refused(ended.value.ending, 1008)


@pytest.mark.parametrize("carrier", ["header", "subprotocol"])
def test_a_token_may_come_otherwise_than_in_the_query(
    server: Server, connect: Connect, carrier: str
) -> None:
    token = server.token_for("ia_justina")
    headers = {
        "header": {"Authorization": f"Bearer {token}"},
        "subprotocol": {"Sec-WebSocket-Protocol": f"access_token.{token}"},
    }[carrier]
    ws = connect(server.ws_url("/ws/ai"), headers=headers)
    assert ws.read_json()["status"] == "connected"


@pytest.mark.parametrize(
    ("path", "role", "alias"),
    [("/ws/simulation", "ROLE_SURGEON", "ROLE_CIRUJANO"), ("/ws/ai", "ROLE_AI", "ROLE_IA")],
)
def test_the_other_names_of_a_role_are_understood(
    server: Server, connect: Connect, path: str, role: str, alias: str
) -> None:
    ws = connect(server.ws_url(path, token=server.token_for(new_surgeon(role), role=alias)))
    assert ws.close().code == 1000


def test_a_token_that_expires_ends_the_connection(server: Server, connect: Connect) -> None:
    token = server.token_for("surgeon_master", exp=int(time.time()) + 2)
    ending = connect(server.ws_url("/ws/simulation", token=token)).ending()
    assert_refused(ending, 1008)
    assert "expired" in ending.reason
