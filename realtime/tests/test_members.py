"""Members that do not read: their live events are conflated, and what they missed is told."""

from datetime import timedelta

from realtime.core.events import Event
from realtime.core.session import Gap
from realtime.hub import Hub
from realtime.members import CONFLATED_BYTES, CONFLATED_MAX
from realtime.tests.doubles import NOW, PlainDialect, moved
from realtime.tests.hubs import joined, reported, texts, transport_of


def test_live_events_of_a_blocked_peer_are_conflated_and_the_gap_is_told(hub: Hub) -> None:
    slow, quick = joined(hub, "surgeries.*"), joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(5):
        hub.deliver(moved(f"m{number}"))
    assert texts(slow) == []
    assert len(texts(quick)) == 5
    transport_of(slow).drain()
    assert texts(slow) == ["m4 live", "gap 4 surgeries"]


def test_the_latest_of_each_thing_is_kept(hub: Hub) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(3):
        hub.deliver(moved(f"a{number}", surgery="a"))
        hub.deliver(moved(f"b{number}", surgery="b"))
    transport_of(slow).drain()
    assert texts(slow) == ["a2 live", "b2 live", "gap 4 surgeries"]


def test_a_blocked_peer_costs_a_bounded_number_of_frames(hub: Hub) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    for number in range(CONFLATED_MAX + 10):
        hub.deliver(moved("m", surgery=str(number)))
    assert len(slow._waiting) == CONFLATED_MAX
    transport_of(slow).drain()
    assert texts(slow)[-1] == "gap 10 surgeries"
    assert len(texts(slow)) == CONFLATED_MAX + 1


def test_a_peer_that_missed_nothing_is_told_of_no_gap(hub: Hub) -> None:
    slow = joined(hub, "surgeries.*")
    transport_of(slow).is_blocked = True
    hub.deliver(moved("m"))
    transport_of(slow).drain()
    transport_of(slow).drain()
    hub.deliver(moved("n"))
    assert texts(slow) == ["m live", "n live"]


def test_of_telemetry_the_latest_of_each_device_and_set_of_metrics_is_kept(hub: Hub) -> None:
    slow = joined(hub, "telemetry.*")
    transport_of(slow).is_blocked = True
    for number in range(2):
        hub.deliver(reported(f"a{number}", device=1))
        hub.deliver(reported(f"b{number}", device=2))
        hub.deliver(reported(f"c{number}", device=1, humidity=45))
    transport_of(slow).drain()
    assert texts(slow) == ["a1 live", "b1 live", "c1 live", "gap 3 telemetry"]


def test_what_is_written_later_is_not_older(hub: Hub) -> None:
    slow = joined(hub, "telemetry.*")
    transport_of(slow).is_blocked = True
    hub.deliver(reported("both", temperature=20, humidity=45))
    hub.deliver(reported("one", temperature=21))
    hub.deliver(reported("both again", temperature=22, humidity=46))
    transport_of(slow).drain()
    assert texts(slow) == ["one live", "both again live", "gap 1 telemetry"]


def test_a_gap_is_told_for_each_kind_of_topic_with_the_first_and_the_last_time(hub: Hub) -> None:
    told: list[Gap] = []

    class Noting(PlainDialect):
        def render_gap(self, gap: Gap) -> bytes | None:
            told.append(gap)
            return None

    slow = joined(hub, "telemetry.*", "surgeries.*", dialect=Noting())
    transport_of(slow).is_blocked = True
    for second in range(4):
        hub.deliver(reported(after=second))
    for _ in range(2):
        hub.deliver(moved())
    transport_of(slow).drain()
    last = NOW + timedelta(seconds=2)
    assert told == [Gap("telemetry", 3, NOW, last), Gap("surgeries", 1, NOW, NOW)]


class Wordy(PlainDialect):
    """Needs a lot of words."""

    def render(self, event: Event, position: str | None) -> bytes | None:
        return b"x" * (CONFLATED_BYTES // 4)


def test_a_blocked_peer_costs_a_bounded_number_of_bytes(hub: Hub) -> None:
    slow = joined(hub, "telemetry.*", dialect=Wordy())
    transport_of(slow).is_blocked = True
    for device in range(10):
        hub.deliver(reported(device=device))
    transport_of(slow).drain()
    assert sum(len(text) for text in texts(slow)) <= CONFLATED_BYTES
    assert texts(slow)[-1] == "gap 7 telemetry"


def test_after_the_gap_nothing_of_it_is_left(hub: Hub) -> None:
    slow = joined(hub, "telemetry.*")
    for _ in range(2):
        transport_of(slow).is_blocked = True
        hub.deliver(reported("a"))
        hub.deliver(reported("b"))
        transport_of(slow).drain()
    assert texts(slow) == ["b live", "gap 1 telemetry"] * 2
    assert not slow.has_waiting
