"""Paths below `/api/v1/` about the conversations themselves, each with and without a slash."""

from django.urls import path

from realtime import api

urlpatterns = [
    path("stats/connections", api.ConnectionStatistics.as_view(), name="connection-statistics"),
    # The same thing twice would fill the API's description with doubles.
    path("stats/connections/", api.ConnectionStatistics.as_view(schema=None)),
]
