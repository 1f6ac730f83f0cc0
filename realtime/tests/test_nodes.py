"""The processes there are: heartbeats, duties, and those that died without a word."""

from datetime import timedelta

import pytest

from realtime import nodes
from realtime.models import Lease, Node
from realtime.tests.doubles import NOW

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(seconds=5)
TOO_LATE = NOW + nodes.DEAD_AFTER + timedelta(seconds=1)


def test_every_process_has_a_name_of_its_own() -> None:
    assert nodes.new_node_id() != nodes.new_node_id()


def test_a_heartbeat_keeps_a_process_alive_and_says_what_it_serves() -> None:
    nodes.beat("a", {"pubsub": 1}, now=NOW)
    nodes.beat("a", {"pubsub": 2, "ai": 1}, now=LATER)
    (report,) = nodes.connections_by_node(now=LATER)
    assert report["connections"] == {"pubsub": 2, "ai": 1}
    assert (report["started_at"], report["heartbeat_at"]) == (NOW, LATER)
    assert report["pid"] > 0


def test_a_process_is_dead_when_its_heartbeat_is_old() -> None:
    nodes.beat("a", {}, now=NOW)
    nodes.beat("b", {}, now=LATER)
    assert nodes.living(now=LATER) == {"a", "b"}
    assert nodes.living(now=TOO_LATE) == {"b"}
    assert [report["node"] for report in nodes.connections_by_node(now=TOO_LATE)] == ["b"]


def test_who_leaves_in_order_takes_its_duties_along() -> None:
    nodes.beat("a", {}, now=NOW)
    nodes.hold_lease("sweep", "a", seconds=15, now=NOW)
    nodes.bury("a")
    assert nodes.living(now=NOW) == set()
    assert nodes.hold_lease("sweep", "b", seconds=15, now=NOW)


def test_rows_of_the_long_dead_are_deleted_and_of_the_late_are_not() -> None:
    nodes.beat("long dead", {}, now=NOW - timedelta(hours=1))
    nodes.beat("late", {}, now=NOW - nodes.DEAD_AFTER - timedelta(seconds=1))
    assert nodes.bury_dead(now=NOW) == 1
    assert [node.id for node in Node.objects.all()] == ["late"]


def test_a_duty_is_one_process_s_until_it_expires() -> None:
    assert nodes.hold_lease("sweep", "a", seconds=15, now=NOW)
    assert not nodes.hold_lease("sweep", "b", seconds=15, now=LATER)
    assert nodes.hold_lease("sweep", "b", seconds=15, now=NOW + timedelta(seconds=15))
    assert not nodes.hold_lease("sweep", "a", seconds=15, now=NOW + timedelta(seconds=16))


def test_a_duty_that_is_renewed_stays() -> None:
    nodes.hold_lease("sweep", "a", seconds=15, now=NOW)
    assert nodes.hold_lease("sweep", "a", seconds=15, now=LATER)
    assert not nodes.hold_lease("sweep", "b", seconds=15, now=NOW + timedelta(seconds=16))


def test_two_duties_are_two() -> None:
    assert nodes.hold_lease("sweep", "a", seconds=15, now=NOW)
    assert nodes.hold_lease("prune", "b", seconds=15, now=NOW)
    assert Lease.objects.count() == 2
