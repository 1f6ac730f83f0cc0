"""What every test shares: background work ends before the database is flushed or dropped."""

from collections.abc import Iterator

import pytest
from django.db import connections
from hypothesis import HealthCheck, settings

from realtime.calls import stop_calls

# How fast examples are made says something of the machine, and nothing of what is tested.
settings.register_profile("vitalwire", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("vitalwire")


@pytest.fixture(autouse=True)
def _no_background_work_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test with real transactions end the threads of `call` before the flush.

    The flush would wait for their open transactions. A test that starts a runtime or a writer
    stops it itself.
    """
    marker = request.node.get_closest_marker("django_db")
    if marker is None or not marker.kwargs.get("transaction"):
        yield
        return
    # Set up before us, so that its flush comes after us.
    request.getfixturevalue("transactional_db")
    yield
    stop_calls()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Close every connection before the test database is dropped, which would wait for them."""
    yield
    close_connections()


def close_connections() -> None:
    """Close this thread's connections, and the pools that every thread takes its own from."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if connection.vendor == "postgresql":
            connection.close_pool()
