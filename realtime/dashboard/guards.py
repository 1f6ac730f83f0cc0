"""Who may see a page or its JSON: signed in, with the right; said in HTML or in JSON."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from accounts.access import Right, may
from realtime.core.errors import Conflict, Forbidden, NotFound

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page_for(right: Right) -> Callable[[View[P]], View[P]]:
    """Guard a page: strangers go to the sign-in page, those without the right get 403."""

    def guard(view: View[P]) -> View[P]:
        @login_required
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not may(request.user, right):
                raise PermissionDenied
            try:
                return view(request, *args, **kwargs)
            except NotFound as error:
                raise Http404(str(error)) from error
            except Forbidden as error:
                raise PermissionDenied(str(error)) from error

        return guarded

    return guard


def json_for(right: Right | None = None) -> Callable[[View[P]], View[P]]:
    """Guard a JSON view: 401, 403, 404 and 409 with `{"error"}`, and never a copy in a cache."""

    def guard(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            response = _answer(view, right, request, *args, **kwargs)
            response["Cache-Control"] = "no-store"
            return response

        return guarded

    return guard


def _answer(
    view: View[P],
    right: Right | None,
    request: HttpRequest,
    *args: P.args,
    **kwargs: P.kwargs,
) -> HttpResponse:
    if not request.user.is_authenticated:
        return JsonResponse({"error": "sign in first"}, status=401)
    if right is not None and not may(request.user, right):
        return JsonResponse({"error": "your role may not see this"}, status=403)
    try:
        return view(request, *args, **kwargs)
    except NotFound as error:
        return JsonResponse({"error": str(error)}, status=404)
    except Forbidden as error:
        return JsonResponse({"error": str(error)}, status=403)
    except Conflict as error:
        return JsonResponse({"error": str(error)}, status=409)
