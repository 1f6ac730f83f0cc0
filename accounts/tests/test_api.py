"""Me, refresh and logout: who a token stands for over REST, and how long."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import services, tokens
from accounts.access import principal_for_token
from accounts.models import User
from accounts.tests.conftest import Heard
from accounts.tests.forge import document_claims, forge
from accounts.tests.rest import (
    BAD_TOKEN,
    LOGIN,
    LOGOUT,
    ME,
    REFRESH,
    REGISTER,
    UNKNOWN,
    bearer,
    post,
)
from accounts.tokens import BadToken

pytestmark = pytest.mark.django_db


# --- me, and how a token travels ------------------------------------------------------


@pytest.mark.parametrize("path", [ME, ME + "/"])
def test_me(client: Client, surgeon: User, path: str) -> None:
    answer = client.get(path, headers=bearer(tokens.issue_access(surgeon)))
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(surgeon.pk),
        "username": "surgeon_master",
        "role": "ROLE_SURGEON",
    }


def test_documents_token_opens_rest(client: Client, surgeon: User) -> None:
    assert client.get(ME, headers=bearer(forge(document_claims(surgeon)))).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_may_be_written_in_any_case(client: Client, surgeon: User, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {tokens.issue_access(surgeon)}"}
    assert client.get(ME, headers=headers).status_code == 200


def test_cookie_alone_is_enough(client: Client, surgeon: User) -> None:
    client.cookies["jwt-token"] = tokens.issue_access(surgeon)
    assert client.get(ME).status_code == 200


def test_cookie_goes_before_the_header(
    client: Client, surgeon: User, make_user: Callable[..., User]
) -> None:
    other = make_user("other")
    client.cookies["jwt-token"] = tokens.issue_access(other)
    answer = client.get(ME, headers=bearer(tokens.issue_access(surgeon)))
    assert answer.json()["username"] == "other"


@pytest.mark.parametrize("cookie", ["garbage", ""])
def test_bad_cookie_is_not_made_good_by_the_header(
    client: Client, surgeon: User, cookie: str
) -> None:
    client.cookies["jwt-token"] = cookie
    answer = client.get(ME, headers=bearer(tokens.issue_access(surgeon)))
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer a b"},
        {"Authorization": "Bearer garbage"},
        {"Authorization": "Bearer \xff\xfe"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Authorization": "Bearer " + "x" * 5000},
    ],
)
def test_me_without_a_good_token(client: Client, headers: dict[str, str]) -> None:
    answer = client.get(ME, headers=headers)
    assert (answer.status_code, answer.json()) == (401, UNKNOWN)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", [LOGOUT, LOGOUT + "/"])
@pytest.mark.parametrize("headers", [{}, bearer("garbage")])
def test_protected_path_without_a_good_token(
    client: Client, path: str, headers: dict[str, str]
) -> None:
    answer = post(client, path, **headers)
    assert (answer.status_code, answer.json()) == (401, BAD_TOKEN)


def test_only_expiry_is_told_apart(client: Client, surgeon: User) -> None:
    past = timezone.now() - timedelta(days=2)
    expired = client.get(ME, headers=bearer(forge(document_claims(surgeon, past))))
    wrong = client.get(ME, headers=bearer(forge(document_claims(surgeon), key="k" * 64)))
    foreign = client.get(ME, headers=bearer(forge(document_claims(surgeon, iss="x"))))
    assert expired.json() == wrong.json() == foreign.json()
    assert "token expired" in expired.headers["WWW-Authenticate"]
    assert wrong.headers["WWW-Authenticate"] == foreign.headers["WWW-Authenticate"]
    assert "invalid token" in wrong.headers["WWW-Authenticate"]


def test_deactivated_user_is_out_at_once(client: Client, surgeon: User) -> None:
    token = tokens.issue_access(surgeon)
    services.deactivate_user(surgeon)
    assert client.get(ME, headers=bearer(token)).status_code == 401


# --- refresh --------------------------------------------------------------------------


@pytest.mark.parametrize("path", [REFRESH, REFRESH + "/"])
def test_refresh_token_gives_the_login_body(client: Client, surgeon: User, path: str) -> None:
    pair = services.login_tokens(surgeon)
    answer = post(client, path, {"refresh_token": pair.refresh})
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"] == "Login exitoso"
    assert body["data"]["access_token"] == body["token"] == answer.cookies["jwt-token"].value
    assert body["token"] != pair.access
    assert principal_for_token(body["token"]).user_id == surgeon.pk


def test_refresh_token_is_good_once(client: Client, surgeon: User) -> None:
    first = services.login_tokens(surgeon).refresh
    second = post(client, REFRESH, {"refresh_token": first}).json()["refresh_token"]
    answer = post(client, REFRESH, {"refresh_token": first})
    assert (answer.status_code, answer.json()) == (401, BAD_TOKEN)
    assert post(client, REFRESH, {"refresh_token": second}).status_code == 200


def test_refresh_token_works_beside_an_expired_cookie(client: Client, surgeon: User) -> None:
    past = timezone.now() - timedelta(days=2)
    client.cookies["jwt-token"] = tokens.issue_access(surgeon, now=past)
    refresh = services.login_tokens(surgeon).refresh
    assert post(client, REFRESH, {"refresh_token": refresh}).status_code == 200


def test_current_bearer_is_renewed_and_stays_good(client: Client, surgeon: User) -> None:
    token = tokens.issue_access(surgeon)
    answer = client.generic("POST", REFRESH, headers=bearer(token))
    assert answer.status_code == 200
    assert answer.json()["token"] != token
    assert principal_for_token(token)


def test_current_cookie_is_renewed(client: Client, surgeon: User) -> None:
    client.cookies["jwt-token"] = tokens.issue_access(surgeon)
    assert post(client, REFRESH).status_code == 200


@pytest.mark.parametrize("body", [{}, {"refresh_token": None}])
def test_refresh_without_any_token(client: Client, body: Any) -> None:
    answer = post(client, REFRESH, body)
    assert (answer.status_code, answer.json()) == (401, BAD_TOKEN)


@pytest.mark.parametrize("refresh", ["", "garbage", "\ud800", "x" * 9000])
def test_bad_refresh_token(client: Client, surgeon: User, refresh: str) -> None:
    headers = bearer(tokens.issue_access(surgeon))
    answer = post(client, REFRESH, {"refresh_token": refresh}, **headers)
    assert answer.status_code in {400, 401}
    assert "jwt-token" not in answer.cookies


def test_access_token_is_no_refresh_token(client: Client, surgeon: User) -> None:
    answer = post(client, REFRESH, {"refresh_token": tokens.issue_access(surgeon)})
    assert answer.status_code == 401


def test_refresh_token_is_no_bearer(client: Client, surgeon: User) -> None:
    headers = bearer(tokens.issue_refresh(surgeon))
    assert client.get(ME, headers=headers).status_code == 401
    assert post(client, REFRESH, **headers).status_code == 401


# --- logout ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", [LOGOUT, LOGOUT + "/"])
def test_logout_takes_back_the_token_used(
    client: Client, surgeon: User, heard: Heard, path: str
) -> None:
    used, other = tokens.issue_access(surgeon), tokens.issue_access(surgeon)
    token_id = principal_for_token(used).token_id
    answer = client.generic("POST", path, headers=bearer(used))
    assert answer.status_code == 204
    assert answer.content == b""
    assert heard == [{"token_id": token_id}]
    assert client.get(ME, headers=bearer(used)).json() == UNKNOWN
    assert principal_for_token(other)


def test_logout_clears_the_cookie(client: Client, surgeon: User) -> None:
    client.cookies["jwt-token"] = tokens.issue_access(surgeon)
    cookie = post(client, LOGOUT).cookies["jwt-token"]
    assert cookie.value == ""
    assert cookie["max-age"] == 0
    assert cookie["path"] == "/"
    assert cookie["secure"]
    assert cookie["samesite"] == "None"


def test_logout_takes_the_refresh_token_too(client: Client, surgeon: User) -> None:
    pair = services.login_tokens(surgeon)
    body = {"refresh_token": pair.refresh}
    assert post(client, LOGOUT, body, **bearer(pair.access)).status_code == 204
    with pytest.raises(BadToken, match="revoked"):
        services.rotate_refresh(pair.refresh)


def test_logout_twice_is_refused(client: Client, surgeon: User) -> None:
    headers = bearer(tokens.issue_access(surgeon))
    assert post(client, LOGOUT, **headers).status_code == 204
    client.cookies.clear()
    assert post(client, LOGOUT, **headers).json() == BAD_TOKEN


# --- the schema -----------------------------------------------------------------------


def test_schema_describes_every_endpoint_and_both_ways_to_send_a_token(client: Client) -> None:
    schema = client.get("/api/schema/?format=json").json()
    described = {path.rstrip("/") for path in schema["paths"]}
    assert {LOGIN, REGISTER, ME, REFRESH, LOGOUT} <= described
    schemes = schema["components"]["securitySchemes"]
    assert schemes["bearerToken"]["scheme"] == "bearer"
    assert schemes["cookieToken"]["name"] == "jwt-token"
