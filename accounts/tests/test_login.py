"""Log in and register: every body, code, cookie and text of the surgery document."""

import logging
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client

from accounts import roles, services
from accounts.access import principal_for_token
from accounts.models import User
from accounts.tests.conftest import PASSWORD
from accounts.tests.rest import LOGIN, MALFORMED, REFRESH, REGISTER, UNKNOWN, log_in, post

pytestmark = pytest.mark.django_db


# --- login ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [LOGIN, LOGIN + "/"])
def test_login_answers_in_both_documents_words(
    client: Client, surgeon_with_password: User, path: str
) -> None:
    answer = post(client, path, {"username": "surgeon_master", "password": PASSWORD})
    assert answer.status_code == 200
    body = answer.json()
    token, refresh = body["token"], body["refresh_token"]
    assert body == {
        "message": "Login exitoso",
        "userId": str(surgeon_with_password.pk),
        "username": "surgeon_master",
        "role": "ROLE_SURGEON",
        "token": token,
        "refresh_token": refresh,
        "expires_in": 86400,
        "data": {
            "access_token": token,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": 86400,
            "user": {
                "id": str(surgeon_with_password.pk),
                "username": "surgeon_master",
                "email": "",
                "role": "ROLE_SURGEON",
            },
        },
    }
    assert principal_for_token(token).user_id == surgeon_with_password.pk
    assert answer.headers["Cache-Control"] == "no-store"


def test_login_sets_the_documents_cookie(client: Client, surgeon_with_password: User) -> None:
    answer = log_in(client)
    cookie = answer.cookies["jwt-token"]
    assert cookie.value == answer.json()["token"]
    assert cookie["path"] == "/"
    assert cookie["max-age"] == 86400
    assert cookie["httponly"]
    assert cookie["secure"]
    assert cookie["samesite"] == "None"


def test_short_passwords_log_in(client: Client, db: None) -> None:
    User.objects.create_user("ana", "x", role=roles.ADMIN)
    assert log_in(client, "ana", "x").status_code == 200


def test_wrong_password(client: Client, surgeon_with_password: User) -> None:
    answer = log_in(client, password="wrong one")
    assert (answer.status_code, answer.json()) == (401, {"error": "Credenciales inválidas"})
    assert "jwt-token" not in answer.cookies


def test_unknown_user(client: Client, surgeon_with_password: User) -> None:
    answer = log_in(client, "nobody")
    assert (answer.status_code, answer.json()) == (401, UNKNOWN)


def test_name_is_exact(client: Client, surgeon_with_password: User) -> None:
    assert log_in(client, "SURGEON_MASTER").json() == UNKNOWN


def test_inactive_user_is_told_no_more_than_wrong_credentials(
    client: Client, surgeon_with_password: User
) -> None:
    services.deactivate_user(surgeon_with_password)
    assert log_in(client).json() == {"error": "Credenciales inválidas"}


@pytest.mark.parametrize("username", ["surgeon_master", "nobody"])
def test_every_refused_login_hashes_once(
    client: Client,
    surgeon_with_password: User,
    monkeypatch: pytest.MonkeyPatch,
    username: str,
) -> None:
    hashed: list[str] = []
    for name in ("encode", "verify"):
        original = getattr(Argon2PasswordHasher, name)

        def counted(*args: Any, _original: Any = original, _name: str = name) -> Any:
            hashed.append(_name)
            return _original(*args)

        monkeypatch.setattr(Argon2PasswordHasher, name, counted)
    assert log_in(client, username, "wrong one").status_code == 401
    assert len(hashed) == 1


def test_refused_login_is_logged_without_the_password(
    client: Client, surgeon_with_password: User, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "vitalwire.accounts"):
        log_in(client, password="hunter2-hunter2")
        log_in(client, "nobody", "hunter2-hunter2")
    mine = [r.getMessage() for r in caplog.records if r.name == "vitalwire.accounts"]
    assert mine == [
        f"login refused: wrong password or inactive, user {surgeon_with_password.pk}",
        "login refused: unknown user",
    ]
    assert "hunter2" not in caplog.text


def test_bad_cookie_does_not_stand_in_the_way_of_a_login(
    client: Client, surgeon_with_password: User
) -> None:
    client.cookies["jwt-token"] = "garbage"
    assert log_in(client).status_code == 200


NAME_NEEDED = "El username es obligatorio"
PASSWORD_NEEDED = "La contraseña es obligatoria"


@pytest.mark.parametrize("path", [LOGIN, REGISTER])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        {},
        {"username": "", "password": ""},
        {"username": "   ", "password": "\t"},
        {"username": None, "password": None},
    ],
)
def test_blank_fields_each_have_a_message(client: Client, path: str, body: Any) -> None:
    answer = post(client, path, body)
    assert answer.status_code == 400
    assert answer.json() == {"username": NAME_NEEDED, "password": PASSWORD_NEEDED}


@pytest.mark.parametrize("path", [LOGIN, REGISTER])
@pytest.mark.parametrize("value", [["a"], {"a": 1}, True])
def test_fields_must_be_texts(client: Client, path: str, value: Any) -> None:
    answer = post(client, path, {"username": value, "password": value})
    assert answer.status_code == 400
    assert set(answer.json()) == {"username", "password"}


@pytest.mark.parametrize("path", [LOGIN, REGISTER])
@pytest.mark.parametrize("odd", ["abcd\0efg", "abcd\ud800efg"])
def test_unstorable_characters_are_refused(client: Client, path: str, odd: str) -> None:
    answer = post(client, path, {"username": odd, "password": odd})
    assert answer.status_code == 400
    assert answer.json() == {
        "username": "El username contiene caracteres no válidos",
        "password": "La contraseña contiene caracteres no válidos",
    }


@pytest.mark.parametrize("path", [LOGIN, REGISTER])
def test_endless_fields_are_refused(client: Client, path: str) -> None:
    answer = post(client, path, {"username": "x" * 10_000, "password": "x" * 10_000})
    assert answer.status_code == 400
    assert answer.json() == {
        "username": "El username debe tener entre 4 y 50 caracteres",
        "password": "La contraseña debe tener entre 6 y 100 caracteres",
    }


@pytest.mark.parametrize("path", [LOGIN, REGISTER])
@pytest.mark.parametrize(
    "raw",
    [
        "{",
        "[]",
        "7",
        "null",
        '"x"',
        '{"username": NaN}',
        b"\xff\xfe",
        "[" * 100_000,
        '{"username":' + "[" * 20_000 + "]" * 20_000 + "}",
    ],
)
def test_unreadable_body_is_a_400_with_the_documents_text(
    client: Client, path: str, raw: str | bytes
) -> None:
    answer = post(client, path, raw)
    assert answer.status_code == 400
    assert answer.json() == MALFORMED


def test_form_is_not_json(client: Client) -> None:
    answer = client.post(LOGIN, {"username": "surgeon_master", "password": PASSWORD})
    assert answer.status_code == 415
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("path", [LOGIN, REGISTER, REFRESH])
def test_wrong_method_is_a_405_with_a_body(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 405
    assert answer.json() == {"error": "Método no permitido"}
    assert "POST" in answer.headers["Allow"]


# --- register -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [REGISTER, REGISTER + "/"])
def test_registering(client: Client, path: str) -> None:
    body = {
        "username": "Ana María",
        "password": "secreto",
        "email": "not an address",
        "institution": "Hospital",
        "role": "ROLE_ADMIN",
        "is_superuser": True,
    }
    answer = post(client, path, body)
    assert answer.status_code == 200
    assert answer.json() == {"message": "Usuario registrado con éxito"}
    user = User.objects.get(username="Ana María")
    assert user.role_id == roles.SURGEON
    assert not user.is_superuser
    assert log_in(client, "Ana María", "secreto").status_code == 200


def test_registering_a_taken_name_is_a_400(client: Client, surgeon: User) -> None:
    answer = post(client, REGISTER, {"username": "surgeon_master", "password": "secreto"})
    assert (answer.status_code, answer.json()) == (400, {"error": "El usuario ya existe"})


@pytest.mark.parametrize(("length", "code"), [(3, 400), (4, 200), (50, 200), (51, 400)])
def test_length_of_a_name(client: Client, length: int, code: int) -> None:
    answer = post(client, REGISTER, {"username": "ñ" * length, "password": "secreto"})
    assert answer.status_code == code
    if code == 400:
        assert answer.json() == {"username": "El username debe tener entre 4 y 50 caracteres"}


@pytest.mark.parametrize(("length", "code"), [(5, 400), (6, 200), (100, 200), (101, 400)])
def test_length_of_a_password(client: Client, length: int, code: int) -> None:
    answer = post(client, REGISTER, {"username": "somebody", "password": "x" * length})
    assert answer.status_code == code
    if code == 400:
        assert answer.json() == {"password": "La contraseña debe tener entre 6 y 100 caracteres"}


def test_spaces_around_a_password_belong_to_it(client: Client) -> None:
    post(client, REGISTER, {"username": "somebody", "password": " secreto "})
    assert log_in(client, "somebody", "secreto").status_code == 401
    assert log_in(client, "somebody", " secreto ").status_code == 200
