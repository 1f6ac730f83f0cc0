"""Which path belongs to which package."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from accounts.api.errors import unknown_path
from realtime import health
from realtime.asyncapi import views as asyncapi

urlpatterns = [
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("metrics", health.metrics),
    path("admin/", admin.site.urls),
    path("api/v1/auth/", include("accounts.urls")),
    path("api/v1/", include("realtime.urls")),
    path("api/v1/", include("devices.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(), name="docs"),
    path("api/asyncapi.json", asyncapi.as_json, name="asyncapi-json"),
    path("api/asyncapi/", asyncapi.as_page, name="asyncapi"),
    path("api/asyncapi", asyncapi.as_page),
    re_path(r"^api/", unknown_path),
    path("", include("realtime.dashboard.urls")),
]
