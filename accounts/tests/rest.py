"""The `auth` endpoints as a client uses them."""

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

from accounts.tests.conftest import PASSWORD

LOGIN = "/api/v1/auth/login"
REGISTER = "/api/v1/auth/register"
ME = "/api/v1/auth/me"
REFRESH = "/api/v1/auth/refresh"
LOGOUT = "/api/v1/auth/logout"

BAD_TOKEN = {"error": "Token de autenticación inválido"}
UNKNOWN = {"error": "Usuario o contraseña incorrectos"}
MALFORMED = {"error": "JSON malformado o cuerpo de la petición inválido"}


def post(client: Client, path: str, body: Any = None, **headers: str) -> HttpResponse:
    raw = body if isinstance(body, str | bytes) else json.dumps(body or {})
    return client.post(path, raw, content_type="application/json", headers=headers)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def log_in(client: Client, username: str = "surgeon_master", password: str = PASSWORD) -> Any:
    return post(client, LOGIN, {"username": username, "password": password})
