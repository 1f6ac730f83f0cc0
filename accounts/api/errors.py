"""One funnel from exceptions to REST answers: every error has a JSON body.

Bodies and texts are those of the surgery document's own server: `{"error": …}`, or one message
for each field.
"""

import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response

from accounts import throttle
from accounts.api.authentication import TokenRefused
from accounts.tokens import BadToken
from realtime.core import errors

logger = logging.getLogger("vitalwire.accounts")

BAD_TOKEN = "Token de autenticación inválido"
MALFORMED = "JSON malformado o cuerpo de la petición inválido"
FORBIDDEN = "No tienes permiso para realizar esta acción."
NOT_FOUND = "El recurso solicitado no existe."
METHOD_NOT_ALLOWED = "Método no permitido"
NOT_JSON = "El cuerpo de la petición debe ser JSON"
TOO_BIG = "El cuerpo de la petición es demasiado grande"
UNAVAILABLE = "Servicio no disponible temporalmente, inténtalo de nuevo"
INTERNAL = "Error interno del servidor"
RETRY_SECONDS = 5


def unknown_path(request: HttpRequest) -> JsonResponse:
    """Answer what no view answers: a client of the REST interface expects JSON there too."""
    return JsonResponse({"error": NOT_FOUND}, status=status.HTTP_404_NOT_FOUND)


def explain_error(exc: Exception, context: Mapping[str, Any]) -> Response:
    """Return the answer to a request whose view raised `exc`."""
    match exc:
        case TokenRefused() | BadToken():
            return _unauthorised(context, exc.public_text)
        case exceptions.AuthenticationFailed():
            return _error(str(exc.detail), status.HTTP_401_UNAUTHORIZED)
        case exceptions.NotAuthenticated():
            return _unauthorised(context)
        case exceptions.ValidationError():
            return _invalid(exc.detail)
        case errors.Invalid() if exc.field:
            return Response({exc.field: str(exc)}, status.HTTP_400_BAD_REQUEST)
        case errors.Invalid():
            return _error(str(exc), status.HTTP_400_BAD_REQUEST)
        # The JSON parser does not expect a body that is nested a thousand deep.
        case exceptions.ParseError() | RecursionError():
            return _error(MALFORMED, status.HTTP_400_BAD_REQUEST)
        case errors.Forbidden():
            return _error(str(exc), status.HTTP_403_FORBIDDEN)
        case exceptions.PermissionDenied() | PermissionDenied():
            return _error(FORBIDDEN, status.HTTP_403_FORBIDDEN)
        case errors.NotFound():
            return _error(str(exc), status.HTTP_404_NOT_FOUND)
        case exceptions.NotFound() | Http404():
            return _error(NOT_FOUND, status.HTTP_404_NOT_FOUND)
        case exceptions.MethodNotAllowed():
            return _error(METHOD_NOT_ALLOWED, exc.status_code)
        case errors.Conflict():
            return _error(str(exc), status.HTTP_409_CONFLICT)
        case RequestDataTooBig():
            return _error(TOO_BIG, status.HTTP_413_REQUEST_ENTITY_TOO_LARGE)
        case exceptions.UnsupportedMediaType():
            return _error(NOT_JSON, exc.status_code)
        case throttle.TooManyAttempts():
            return _retry_later(str(exc), exc.status_code, exc.seconds)
        case exceptions.Throttled():
            return _retry_later(str(exc.detail), exc.status_code, exc.wait)
        case errors.Unavailable() | OperationalError():
            logger.warning("a request was answered 503: %s", type(exc).__name__)
            return _retry_later(UNAVAILABLE, status.HTTP_503_SERVICE_UNAVAILABLE, RETRY_SECONDS)
        case exceptions.APIException():
            return _error(str(exc.detail), exc.status_code)
    logger.error("a request failed: %s", type(exc).__name__, exc_info=exc)
    return _error(INTERNAL, status.HTTP_500_INTERNAL_SERVER_ERROR)


def _error(text: str, code: int, headers: dict[str, str] | None = None) -> Response:
    return Response({"error": text}, code, headers=headers)


def _retry_later(text: str, code: int, seconds: float | None) -> Response:
    return _error(text, code, {"Retry-After": str(round(seconds or RETRY_SECONDS))})


def _unauthorised(context: Mapping[str, Any], problem: str = "") -> Response:
    """Return 401; the body is the same for every bad token, the header tells expiry apart."""
    challenge = f'Bearer error="invalid_token", error_description="{problem}"'
    headers = {"WWW-Authenticate": challenge if problem else "Bearer"}
    text = getattr(context.get("view"), "unauthorised_text", BAD_TOKEN)
    return _error(text, status.HTTP_401_UNAUTHORIZED, headers)


def _invalid(detail: Any) -> Response:
    """Return the flat map of the document: one message for each field."""
    if not isinstance(detail, Mapping) or "non_field_errors" in detail:
        return _error(MALFORMED, status.HTTP_400_BAD_REQUEST)
    return Response(
        {field: _first(messages) for field, messages in detail.items()},
        status.HTTP_400_BAD_REQUEST,
    )


def _first(messages: Any) -> str:
    while isinstance(messages, list | Mapping) and messages:
        messages = next(iter(messages.values() if isinstance(messages, Mapping) else messages))
    return str(messages)
