"""The processes there are: heartbeats, duties, and those that died without a word."""

from datetime import timedelta

import pytest

from realtime import nodes
from realtime.core.session import Session
from realtime.models import Lease, Node
from realtime.nodes import Statistics
from realtime.tests.doubles import NOW, member

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


# --- Statistics ----------------------------------------------------------------------------


def session(seconds_ago: int = 10, *, received: int = 0, sent: int = 0) -> Session:
    one = member().session
    one.opened_at = NOW - timedelta(seconds=seconds_ago)
    one.messages_in, one.messages_out = received, sent
    return one


def test_what_ended_and_what_is_open_is_counted() -> None:
    statistics = Statistics()
    for _ in range(2):
        statistics.on_open()
    statistics.on_close(session(10, received=3, sent=4), NOW)
    assert statistics.figures([session(5, received=1)], NOW) == {
        "opened": 2,
        "closed": 1,
        "messages_in": 4,
        "messages_out": 4,
        "seconds_open": 15,
    }


def test_the_figures_of_all_processes_are_added_up() -> None:
    nodes.beat("a", {}, statistics={"opened": 1, "messages_in": 5}, now=NOW)
    nodes.beat("b", {}, statistics={"opened": 2}, now=NOW)
    assert nodes.statistics_of_all() == {"opened": 3, "messages_in": 5}
    assert nodes.statistics_of_all({"b": {"opened": 7}}) == {"opened": 8, "messages_in": 5}


def test_what_an_ended_process_counted_is_kept_once() -> None:
    nodes.beat("leaves", {}, statistics={"opened": 1, "seconds_open": 0.5}, now=NOW)
    nodes.beat("dies", {}, statistics={"opened": 10}, now=NOW - timedelta(hours=1))
    for _ in range(2):
        nodes.bury("leaves")
        nodes.bury_dead(now=NOW)
    assert nodes.statistics_of_all() == {"opened": 11, "seconds_open": 0.5}
    assert Node.objects.count() == 0


def test_who_was_taken_for_dead_and_lives_is_not_counted_twice() -> None:
    statistics = Statistics()
    for _ in range(3):
        statistics.on_open()
    told = statistics.figures([], NOW)
    assert nodes.beat("a", {}, statistics=told, now=NOW)
    assert not nodes.beat("a", {}, statistics=told, now=NOW)
    nodes.bury_dead(now=NOW + timedelta(hours=1))
    statistics.on_open()
    assert nodes.beat("a", {}, statistics=statistics.figures([], NOW), now=NOW)
    statistics.start_over(told)
    nodes.beat("a", {}, statistics=statistics.figures([], NOW), now=NOW)
    assert nodes.statistics_of_all()["opened"] == 4
