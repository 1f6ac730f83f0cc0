"""Devices whose state is read again, and the values that wait for them."""

from devices.tests.rules import at
from realtime.alarms.pending import STORED_AFTER, Pending
from realtime.alarms.shares import Heard


def heard(device_id: int, second: float = 0) -> Heard:
    return Heard(device_id, {}, at(second))


def test_a_device_is_marked_from_the_earliest_time_on() -> None:
    pending = Pending()
    for second in (5, 3, 8):
        pending.mark(1, at(second))
    assert pending.take_batch(10) == {1: at(3)}
    assert not pending.has_marks
    assert len(pending) == 1
    pending.done()
    assert len(pending) == 0


def test_devices_for_which_something_waits_come_first() -> None:
    pending = Pending()
    for device_id in range(5):
        pending.mark(device_id, at(0))
    pending.wait(heard(3))
    assert list(pending.take_batch(2)) == [3]
    pending.done()
    assert list(pending.take_batch(2)) == [0, 1]


def test_what_comes_while_its_device_is_read_waits_and_does_not_mark_it_again() -> None:
    pending = Pending()
    pending.wait(heard(1, 0))
    pending.take_batch(1)
    pending.wait(heard(1, 1))
    assert 1 not in pending
    pending.done()
    assert [each.received_at for each in pending.take_waiting(1)] == [at(0), at(1)]
    assert pending.take_waiting(1) == []


def test_what_does_not_fit_is_read_when_it_is_certainly_stored() -> None:
    pending = Pending(most=1)
    pending.wait(heard(1, 0))
    pending.wait(heard(2, 1))
    assert pending.take_batch(10).keys() == {1}, "nothing waits for the other"
    pending.done()
    assert pending.take_batch(10).keys() == {2}
    pending.done()
    pending.ripen(at(1) + STORED_AFTER)
    assert not pending.has_marks
    pending.ripen(at(1.1) + STORED_AFTER)
    assert pending.take_batch(10) == {2: at(1)}


def test_what_was_taken_and_not_read_is_put_back() -> None:
    pending = Pending()
    pending.mark(1, at(3))
    pending.take_batch(10)
    assert pending.is_in_hand(1)
    pending.put_back()
    assert not pending.is_in_hand(1)
    assert pending.take_batch(10) == {1: at(3)}
