"""How these routes answer errors: `{"detail": text}`, and 422 with one entry for each mistake.

Other routes keep the surgery document's words, see `accounts/api/errors.py`.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.response import Response

from accounts.api.authentication import TokenRefused
from realtime.core import errors

log = logging.getLogger("vitalwire.devices")

NOT_AUTHENTICATED = "Not authenticated"
BAD_TOKEN = "Could not validate credentials"
FORBIDDEN = "Not allowed"
NOT_FOUND = "Not Found"
METHOD_NOT_ALLOWED = "Method Not Allowed"
NOT_JSON = "The request body has to be JSON"
TOO_BIG = "The request body is too large"
UNAVAILABLE = "Temporarily unavailable, try again"
INTERNAL = "Internal Server Error"
RETRY_SECONDS = 5
MISTAKES_MAX = 100
ECHO_LENGTH_MAX = 200

# What the REST framework calls a mistake -> what clients of this API call it.
TYPES = {"required": "missing"}
NOT_AN_OBJECT = (
    "model_attributes_type",
    "Input should be a valid dictionary or object to extract fields from",
)
# Numbers that JSON clients read without loss; longer ones are echoed as text.
ECHO_NUMBER_MAX = 2**63

Mistake = dict[str, Any]


class Unprocessable(exceptions.APIException):
    """Raised when a path, a query or a body does not have the shape that the route expects."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__()
        self.mistakes = mistakes


def mistake(kind: str, loc: list[str | int], message: str, given: Any) -> Mistake:
    return {"type": kind, "loc": loc, "msg": message, "input": _echo(given)}


def mistakes_of(found: Any, *, place: str, given: Any) -> list[Mistake]:
    """Return what a serializer found wrong with `given`, which came in a "body" or "query"."""
    flat = _flatten(found, [place], given)
    return [one for one, _ in zip(flat, range(MISTAKES_MAX), strict=False)]


def explain_plainly(exc: Exception, context: Mapping[str, Any]) -> Response:
    """Return the answer to a request whose view raised `exc`."""
    match exc:
        case Unprocessable():
            return Response({"detail": exc.mistakes}, exc.status_code)
        case errors.Invalid() if exc.field:
            request = context.get("request")
            place = "query" if request is not None and request.method == "GET" else "body"
            wrong = mistake("value_error", [place, exc.field], str(exc), None)
            return Response({"detail": [wrong]}, status.HTTP_422_UNPROCESSABLE_ENTITY)
        # The JSON parser does not expect a body that is nested a thousand deep.
        case exceptions.ParseError() | RecursionError():
            wrong = mistake("json_invalid", ["body"], "JSON decode error", {})
            return Response({"detail": [wrong]}, status.HTTP_422_UNPROCESSABLE_ENTITY)
        case TokenRefused():
            return _unauthorised(BAD_TOKEN, exc.public_text)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return _unauthorised(NOT_AUTHENTICATED)
        case errors.Unavailable() | OperationalError():
            log.warning("a request was answered 503: %s", type(exc).__name__)
            headers = {"Retry-After": str(RETRY_SECONDS)}
            return _detail(UNAVAILABLE, status.HTTP_503_SERVICE_UNAVAILABLE, headers)
        case exceptions.Throttled():
            headers = {"Retry-After": str(round(exc.wait or RETRY_SECONDS))}
            return _detail(str(exc.detail), exc.status_code, headers)
    code, text = _refusal(exc)
    if code == status.HTTP_500_INTERNAL_SERVER_ERROR:
        log.error("a request failed: %s", type(exc).__name__, exc_info=exc)
    return _detail(text, code)


def _refusal(exc: Exception) -> tuple[int, str]:
    match exc:
        case errors.Invalid():
            return status.HTTP_400_BAD_REQUEST, str(exc)
        case errors.Forbidden():
            return status.HTTP_403_FORBIDDEN, str(exc)
        case exceptions.PermissionDenied() | PermissionDenied():
            return status.HTTP_403_FORBIDDEN, FORBIDDEN
        case errors.NotFound():
            return status.HTTP_404_NOT_FOUND, str(exc)
        case exceptions.NotFound() | Http404():
            return status.HTTP_404_NOT_FOUND, NOT_FOUND
        case exceptions.MethodNotAllowed():
            return exc.status_code, METHOD_NOT_ALLOWED
        case errors.Conflict():
            return status.HTTP_409_CONFLICT, str(exc)
        case RequestDataTooBig():
            return status.HTTP_413_REQUEST_ENTITY_TOO_LARGE, TOO_BIG
        case exceptions.UnsupportedMediaType():
            return exc.status_code, NOT_JSON
        case exceptions.APIException():
            return exc.status_code, str(exc.detail)
    return status.HTTP_500_INTERNAL_SERVER_ERROR, INTERNAL


def _detail(text: str, code: int, headers: dict[str, str] | None = None) -> Response:
    return Response({"detail": text}, code, headers=headers)


def _unauthorised(text: str, problem: str = "") -> Response:
    """Return 401; the body is the same for every bad token, the header tells expiry apart."""
    challenge = f'Bearer error="invalid_token", error_description="{problem}"'
    headers = {"WWW-Authenticate": challenge if problem else "Bearer"}
    return _detail(text, status.HTTP_401_UNAUTHORIZED, headers)


def _flatten(found: Any, loc: list[str | int], given: Any) -> Iterator[Mistake]:
    """Walk the REST framework's errors, and what was sent beside them."""
    if isinstance(found, Mapping):
        for name, inner in found.items():
            if name == "non_field_errors":
                yield from (_one(detail, loc, given) for detail in inner)
            elif _is_sent(given, name):
                yield from _flatten(inner, [*loc, name], given[name])
            else:
                # Like the document's server: what is missing is missing from all that was sent.
                yield from _flatten(inner, [*loc, name], given)
        return
    for number, inner in enumerate(found):
        if isinstance(inner, exceptions.ErrorDetail):
            yield _one(inner, loc, given)
        elif inner:
            yield from _flatten(inner, [*loc, number], given[number])


def _one(detail: exceptions.ErrorDetail, loc: list[str | int], given: Any) -> Mistake:
    # Our fields name their failures themselves: these two are said of a whole object only.
    if detail.code in ("invalid", "null"):
        return mistake(NOT_AN_OBJECT[0], loc, NOT_AN_OBJECT[1], given)
    return mistake(TYPES.get(detail.code, detail.code), loc, str(detail), given)


def _is_sent(given: Any, name: str) -> bool:
    return isinstance(given, Mapping) and name in given


def _echo(given: Any) -> Any:
    """Return what was sent, cut and in a form that every JSON reader takes."""
    match given:
        case None | bool():
            return given
        case int() if abs(given) < ECHO_NUMBER_MAX:
            return given
        case float() if abs(given) < float("inf"):
            return given
        case str():
            return given[:ECHO_LENGTH_MAX].encode(errors="replace").decode()
        case dict():
            some = zip(given.items(), range(20), strict=False)
            return {_echo(str(name)): _brief(value) for (name, value), _ in some}
        case list():
            return [_brief(value) for value in given[:20]]
    return str(given)[:ECHO_LENGTH_MAX]


def _brief(value: Any) -> Any:
    return str(type(value).__name__) if isinstance(value, dict | list) else _echo(value)
