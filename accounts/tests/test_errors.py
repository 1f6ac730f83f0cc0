"""accounts/api/errors.py: whatever a view raises, the answer is JSON with the right code."""

import logging

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions

from accounts.api import explain_error
from accounts.tokens import BadToken, TokenProblem
from realtime.core import errors

CASES = [
    (exceptions.ParseError(), 400, "JSON malformado o cuerpo de la petición inválido"),
    (RecursionError(), 400, "JSON malformado o cuerpo de la petición inválido"),
    (exceptions.NotAuthenticated(), 401, "Token de autenticación inválido"),
    (exceptions.AuthenticationFailed("Credenciales inválidas"), 401, "Credenciales inválidas"),
    (BadToken(TokenProblem.REVOKED), 401, "Token de autenticación inválido"),
    (errors.Forbidden("No es tuya."), 403, "No es tuya."),
    (exceptions.PermissionDenied(), 403, "No tienes permiso para realizar esta acción."),
    (PermissionDenied(), 403, "No tienes permiso para realizar esta acción."),
    (errors.NotFound("No existe."), 404, "No existe."),
    (Http404(), 404, "El recurso solicitado no existe."),
    (exceptions.NotFound(), 404, "El recurso solicitado no existe."),
    (exceptions.MethodNotAllowed("PUT"), 405, "Método no permitido"),
    (errors.Conflict("Ya terminó."), 409, "Ya terminó."),
    (RequestDataTooBig(), 413, "El cuerpo de la petición es demasiado grande"),
    (exceptions.UnsupportedMediaType("x/y"), 415, "El cuerpo de la petición debe ser JSON"),
    (errors.Invalid("Eso no."), 400, "Eso no."),
    (errors.Unavailable("busy"), 503, "Servicio no disponible temporalmente, inténtalo de nuevo"),
    (OperationalError(), 503, "Servicio no disponible temporalmente, inténtalo de nuevo"),
    (KeyError("secret"), 500, "Error interno del servidor"),
]


@pytest.mark.parametrize(("raised", "code", "text"), CASES, ids=lambda case: type(case).__name__)
def test_every_error_has_a_code_and_a_text(raised: Exception, code: int, text: str) -> None:
    answer = explain_error(raised, {})
    assert (answer.status_code, answer.data) == (code, {"error": text})


def test_invalid_fields_are_a_flat_map() -> None:
    raised = exceptions.ValidationError({"score": ["demasiado", "otra"], "feedback": "falta"})
    answer = explain_error(raised, {})
    assert (answer.status_code, answer.data) == (400, {"score": "demasiado", "feedback": "falta"})


def test_invalid_value_names_its_field() -> None:
    answer = explain_error(errors.Invalid("muy largo", field="notes"), {})
    assert (answer.status_code, answer.data) == (400, {"notes": "muy largo"})


@pytest.mark.parametrize("raised", [errors.Unavailable("busy"), OperationalError()])
def test_unavailable_says_when_to_try_again(raised: Exception) -> None:
    assert int(explain_error(raised, {}).headers["Retry-After"]) > 0


def test_throttled_says_when_to_try_again() -> None:
    answer = explain_error(exceptions.Throttled(wait=12), {})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "12"


def test_unforeseen_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "vitalwire.accounts"):
        explain_error(ZeroDivisionError("x"), {})
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "ZeroDivisionError" in record.getMessage()


def test_a_path_without_a_view_is_answered_in_json(client):
    answer = client.get("/api/v1/nothing-here")
    assert answer.status_code == 404
    assert answer.json() == {"error": "El recurso solicitado no existe."}
