"""Paths below `/api/v1/`, each with and without a slash at its end."""

from collections.abc import Iterator

from django.urls import URLPattern, path
from rest_framework.views import APIView

from devices import api

VIEWS: dict[str, tuple[type[APIView], str]] = {
    "surgeries": (api.SurgeryList, "surgeries"),
    "surgeries/<str:surgery_id>": (api.SurgeryDetail, "surgery"),
    "surgeries/<str:surgery_id>/trajectory": (api.SurgeryTrajectory, "surgery-trajectory"),
    "surgeries/<str:surgery_id>/analysis": (api.SurgeryAnalysis, "surgery-analysis"),
    "surgeries/<str:surgery_id>/metrics": (api.SurgeryMetrics, "surgery-metrics"),
}


def _patterns() -> Iterator[URLPattern]:
    for route, (view, name) in VIEWS.items():
        yield path(route, view.as_view(), name=name)
        # The same thing twice would fill the API's description with doubles.
        yield path(f"{route}/", view.as_view(schema=None))


urlpatterns = list(_patterns())
