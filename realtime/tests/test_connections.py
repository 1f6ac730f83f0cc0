"""Ending connections from anywhere: the control event."""

import pytest

from realtime import journal
from realtime.connections import end_connection, end_connections_of
from realtime.core.events import ConnectionEnded
from realtime.tests.doubles import user_id_of

pytestmark = pytest.mark.django_db


def test_it_reaches_the_processes_through_the_journal() -> None:
    end_connection("abc", by="root")
    end_connections_of(user_id_of("ana"), by="root")
    journal.number_committed()
    events = [entry.event for entry in journal.read_after(0)]
    assert [type(event) for event in events] == [ConnectionEnded] * 2
    one, all_of = events
    assert isinstance(one, ConnectionEnded)
    assert isinstance(all_of, ConnectionEnded)
    assert (one.connection_id, one.user_id, one.by) == ("abc", None, "root")
    assert (all_of.connection_id, all_of.user_id) == (None, user_id_of("ana"))
    assert one.topic == "control.connections"
