"""The document over HTTP: as JSON for programs, as a page for people. Open to everybody."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from realtime.asyncapi.document import document
from realtime.asyncapi.page import shown_dialects


@require_safe
def as_json(request: HttpRequest) -> JsonResponse:
    """Return the document with the address by which it was asked for."""
    protocol = "wss" if request.is_secure() else "ws"
    told = document(host=request.get_host(), protocol=protocol)
    return JsonResponse(told, json_dumps_params={"ensure_ascii": False})


@require_safe
def as_page(request: HttpRequest) -> HttpResponse:
    context = {"section": "asyncapi", "dialects": shown_dialects()}
    return render(request, "asyncapi/document.html", context)
