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
    *page("dashboard/devices/", views.devices, "dashboard-devices"),
    *page("dashboard/devices/<int:device_id>/", views.device, "dashboard-device"),
    *page("dashboard/alerts/", views.alerts, "dashboard-alerts"),
    *page("dashboard/system/", views.system, "dashboard-system"),
    path("dashboard/token/", api.token, name="dashboard-token"),
    path("dashboard/api/overview", api.overview, name="dashboard-api-overview"),
    path("dashboard/api/surgeries", api.surgeries, name="dashboard-api-surgeries"),
    path("dashboard/api/surgeries/<uuid:surgery_id>", api.surgery, name="dashboard-api-surgery"),
    path("dashboard/api/devices", api.devices, name="dashboard-api-devices"),
    path("dashboard/api/devices/<int:device_id>", api.device, name="dashboard-api-device"),
    path(
        "dashboard/api/devices/<int:device_id>/past",
        api.device_past,
        name="dashboard-api-device-past",
    ),
    path("dashboard/api/alerts", api.alerts, name="dashboard-api-alerts"),
    path(
        "dashboard/api/alerts/<int:alert_id>/acknowledge",
        api.acknowledge,
        name="dashboard-api-acknowledge",
    ),
    path(
        "dashboard/api/alerts/<int:alert_id>/resolve",
        api.resolve,
        name="dashboard-api-resolve",
    ),
]
