"""What too many failed logins get, on every door alike; counting is the axes package's."""

from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_client_ip_address, get_cool_off
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render


def explain_lockout(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Return the 429: named by the setting AXES_LOCKOUT_CALLABLE, called by its middleware.

    It is JSON; a browser that asks for a page gets the one of AXES_LOCKOUT_TEMPLATE, if set.
    """
    seconds = int(get_cool_off(request).total_seconds())
    if settings.AXES_LOCKOUT_TEMPLATE and _prefers_page(request):
        response = render(request, settings.AXES_LOCKOUT_TEMPLATE, status=429)
    else:
        text = f"Demasiados intentos fallidos. Inténtalo de nuevo en {seconds} segundos."
        response = JsonResponse({"error": text}, status=429)
    response["Retry-After"] = str(seconds)
    response["Cache-Control"] = "no-store"
    return response


def is_locked_out(request: HttpRequest) -> bool:
    """Tell whether the login just tried was one too many; the middleware answers it then."""
    return getattr(request, "axes_locked_out", False)


def forgive(request: HttpRequest, username: str) -> None:
    """Forget the failures of this name from this address: it has just logged in."""
    AxesProxyHandler.reset_attempts(ip_address=get_client_ip_address(request), username=username)


def _prefers_page(request: HttpRequest) -> bool:
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"
