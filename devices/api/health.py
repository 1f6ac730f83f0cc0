"""Whether this server answers, for clients that ask where the telemetry document's server is.

What operators watch is elsewhere: /healthz, /readyz, /metrics.
"""

import time
from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base import DeviceView, described
from devices.api.bodies.health import Health, Pong

HEALTHY = "healthy"
WITHOUT_REDIS = "disabled (local development)"
REDIS_SECONDS = 1


class PublicView(DeviceView):
    """Open to everybody: a bad token is no reason to hide that the server lives."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def check_permissions(self, request: Request) -> None:
        return


class HealthState(PublicView):
    @described("health", tag="health", answer=Health, is_public=True)
    def get(self, request: Request) -> Response:
        """Say how the server's parts are; 200 whatever it says."""
        database = _database_state()
        return Response(
            {
                "status": HEALTHY if database == HEALTHY else "unhealthy",
                "timestamp": time.time(),
                "version": settings.SPECTACULAR_SETTINGS["VERSION"],
                "services": {"database": database, "redis": _redis_state(), "api": HEALTHY},
                "environment": settings.SPECTACULAR_SETTINGS["TITLE"],
            }
        )


class HealthPing(PublicView):
    @described("health_ping", tag="health", answer=Pong, is_public=True)
    def get(self, request: Request) -> Response:
        """Answer at once."""
        return Response({"pong": time.time()})


def _database_state() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return _unhealthy(error)
    return HEALTHY


def _redis_state() -> str:
    if not settings.REDIS_URL:
        return WITHOUT_REDIS
    try:
        _redis(settings.REDIS_URL).ping()
    except redis.RedisError as error:
        return _unhealthy(error)
    return HEALTHY


@cache
def _redis(url: str) -> redis.Redis:
    """Return the one client that asks: anybody may ask, and shall not open connections by it."""
    return redis.Redis.from_url(
        url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )


def _unhealthy(error: Exception) -> str:
    """Name the problem; its text may name hosts and accounts."""
    return f"unhealthy: {type(error).__name__}"
