"""Paths of the pages and of their JSON, with and without a slash at the end."""

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from realtime.dashboard import api, views


def page(route: str, view: Callable[..., Any], name: str) -> list[URLPattern]:
    """Return the page's path as written, which links use, and the other spelling."""
    other = route.removesuffix("/") if route.endswith("/") else f"{route}/"
    return [path(route, view, name=name), path(other, view)]


urlpatterns = [
    path("", views.home, name="home"),
    *page("login/", views.SignIn.as_view(), "login"),
    *page("logout/", views.SignOut.as_view(), "logout"),
    *page("simulator", views.simulator, "simulator"),
    *page("dashboard/", views.overview, "dashboard"),
    *page("dashboard/surgeries/<uuid:surgery_id>/", views.operation, "dashboard-operation"),
    path("dashboard/token/", api.token, name="dashboard-token"),
    path("dashboard/api/overview", api.overview, name="dashboard-api-overview"),
    path("dashboard/api/surgeries", api.surgeries, name="dashboard-api-surgeries"),
    path("dashboard/api/surgeries/<uuid:surgery_id>", api.surgery, name="dashboard-api-surgery"),
]
