"""Which process evaluates a device, and what is kept until the owner has heard it."""

from hypothesis import given
from hypothesis import strategies as st

from devices.tests.rules import at
from realtime.alarms.shares import Heard, Leftovers, Shares, owner_of

nodes = st.sets(st.uuids().map(str), min_size=1, max_size=8)
devices = st.integers(1, 1_000_000)


def heard(device_id: int = 1, second: float = 0) -> Heard:
    return Heard(device_id, {}, at(second))


# --- Owners --------------------------------------------------------------------------------


@given(nodes, devices)
def test_every_process_comes_to_the_same_owner(living: set[str], device_id: int) -> None:
    owners = set()
    for node in living:
        shares = Shares(node)
        shares.change(living)
        owners.add(shares.owner(device_id))
    assert len(owners) == 1


@given(nodes, devices)
def test_when_a_process_ends_only_its_devices_move(living: set[str], device_id: int) -> None:
    owner = owner_of(device_id, living)
    for gone in living - {owner}:
        assert owner_of(device_id, living - {gone}) == owner


def test_the_devices_are_shared_about_evenly() -> None:
    living = ["a", "b", "c", "d"]
    owned = [owner_of(device_id, living) for device_id in range(4_000)]
    assert all(900 < owned.count(node) < 1_100 for node in living)


def test_a_process_counts_itself_before_anybody_has_seen_it() -> None:
    shares = Shares("a")
    assert shares.is_alone
    assert shares.owns(7)
    assert not shares.change(set())
    assert shares.change({"b"})
    assert not shares.change({"a", "b"})
    assert shares.nodes == {"a", "b"}


def test_an_owner_is_found_anew_when_the_living_change() -> None:
    shares = Shares("a")
    shares.change({"b"})
    of_b = next(device_id for device_id in range(100) if shares.owner(device_id) == "b")
    shares.change(set())
    assert shares.owns(of_b)


# --- Leftovers -----------------------------------------------------------------------------


def test_what_its_owner_heard_is_forgotten() -> None:
    left = Leftovers()
    left.leave("b", heard(1), beacon=5)
    left.leave("b", heard(2), beacon=6)
    left.leave("c", heard(3), beacon=5)
    assert left.confirm("b", since=4, upto=5) == []
    assert len(left) == 2
    assert left.confirm("b", since=4, upto=6) == []
    assert [each.device_id for each in left.take_all()] == [3]


def test_what_came_before_the_part_that_was_heard_whole_is_returned_as_lost() -> None:
    left = Leftovers()
    for beacon in (4, 5, 6, 7):
        left.leave("b", heard(beacon), beacon=beacon)
    assert [each.device_id for each in left.confirm("b", since=5, upto=6)] == [4, 5]
    assert [each.device_id for each in left.take_all()] == [7]


def test_a_confirmation_of_something_else_changes_nothing() -> None:
    left = Leftovers()
    left.leave("b", heard(1), beacon=5)
    assert left.confirm("c", since=1, upto=9) == []
    assert left.confirm("b", since=1, upto=4) == []
    assert len(left) == 1


def test_what_is_not_confirmed_in_time_is_taken_back() -> None:
    left = Leftovers()
    left.leave("b", heard(1, 0), beacon=1)
    left.leave("b", heard(2, 9), beacon=1)
    left.leave("c", heard(3, 1), beacon=1)
    assert {each.device_id for each in left.overdue(at(5))} == {1, 3}
    assert len(left) == 1


def test_there_is_room_for_so_much_and_the_oldest_of_the_longest_makes_room() -> None:
    left = Leftovers(most=2)
    assert left.leave("b", heard(1), beacon=1) is None
    assert left.leave("b", heard(2), beacon=1) is None
    evicted = left.leave("c", heard(3), beacon=1)
    assert evicted is not None
    assert evicted.device_id == 1
    assert len(left) == 2
