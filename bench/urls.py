"""The project's URLs, and a request that hands pure Python to a child process."""

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from bench.work import count_for
from realtime.core.apart import run_apart


def compute(request: HttpRequest, seconds: int) -> JsonResponse:
    """Answer after `seconds` of pure Python, computed apart."""
    return JsonResponse({"rounds": run_apart(count_for, seconds)})


urlpatterns = [
    path("bench/compute/<int:seconds>", compute),
    path("", include("project.urls")),
]
