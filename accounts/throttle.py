"""What too many logins get, on every door alike.

Failures of one name from one address are counted by the axes package, whatever is tried from one
address by us: who guesses one password for many names is no failure of any of them.
"""

import threading
import time
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_client_ip_address, get_cool_off
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin

from accounts.hashing import TooManyHashes
from realtime.core.errors import Failure
from realtime.core.limits import ConnectionBudget

WINDOW_SECONDS = 60
BUSY_SECONDS = 5
LOCKED_OUT = "Demasiados intentos fallidos. Inténtalo de nuevo en {} segundos."
TOO_MANY = "Demasiados intentos desde tu dirección. Inténtalo de nuevo en {} segundos."
BUSY = "Servicio no disponible temporalmente. Inténtalo de nuevo en {} segundos."
NAME_PAUSED = "Signing in with this name is paused after too many wrong passwords."
ADDRESS_PAUSED = "Too many people sign in from your address."
ALL_BUSY = "Too many people sign in at this moment."

_attempts = ConnectionBudget(connections=0, per_minute=settings.LOGINS_PER_ADDRESS_PER_MINUTE)
# Every request has a thread of its own.
_counting = threading.Lock()


class TooManyAttempts(Failure):
    """Raised when an address has used up its logins and registrations of this minute."""

    status_code = 429
    seconds = WINDOW_SECONDS

    def __init__(self) -> None:
        super().__init__(TOO_MANY.format(self.seconds))


class AddressLimit:
    """The first authentication backend: asked at every door, before anything is hashed.

    Knows no user, so that none is kept in a session as authenticated by it.
    """

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        if request is not None:
            count_attempt(request)


class RefusalMiddleware(MiddlewareMixin):
    """Answers for a page whose login was refused; the REST views have a funnel of their own."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        match exception:
            case TooManyAttempts():
                return _refuse(request, TOO_MANY, ADDRESS_PAUSED, 429, exception.seconds)
            case TooManyHashes():
                return _refuse(request, BUSY, ALL_BUSY, 503, BUSY_SECONDS)
        return None


def count_attempt(request: HttpRequest) -> None:
    """Count a login or a registration of this address. Raises TooManyAttempts."""
    address = get_client_ip_address(request) or ""
    with _counting:
        fits = _attempts.admit(address, time.monotonic())
    if not fits:
        raise TooManyAttempts


def explain_lockout(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Return the 429: named by the setting AXES_LOCKOUT_CALLABLE, called by its middleware."""
    seconds = int(get_cool_off(request).total_seconds())
    return _refuse(request, LOCKED_OUT, NAME_PAUSED, 429, seconds)


def is_locked_out(request: HttpRequest) -> bool:
    """Tell whether the login just tried was one too many; the middleware answers it then."""
    return getattr(request, "axes_locked_out", False)


def forgive(request: HttpRequest, username: str) -> None:
    """Forget the failures of this name from this address: it has just logged in."""
    AxesProxyHandler.reset_attempts(ip_address=get_client_ip_address(request), username=username)


def _refuse(
    request: HttpRequest, text: str, reason: str, status: int, seconds: int
) -> HttpResponse:
    """Return JSON with `text`; a browser that asks for a page gets AXES_LOCKOUT_TEMPLATE, if set.

    The page says `reason`.
    """
    if settings.AXES_LOCKOUT_TEMPLATE and _prefers_page(request):
        page = settings.AXES_LOCKOUT_TEMPLATE
        response = render(request, page, {"reason": reason}, status=status)
    else:
        response = JsonResponse({"error": text.format(seconds)}, status=status)
    response["Retry-After"] = str(seconds)
    response["Cache-Control"] = "no-store"
    return response


def _prefers_page(request: HttpRequest) -> bool:
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"
