"""Hands: the same for the same seed, smooth when they reach, trembling when they hold."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from realtime.client.motion import (
    FRAGMENTS,
    RATE,
    TREMOR_SIZE,
    _move,
    _Tremor,
    hands,
    minimum_jerk,
)

STARTED_MS = 1_710_523_456_789


def _hands(seed: int = 1, seconds: float = 40.0):
    return hands(seed=seed, seconds=seconds, started_ms=STARTED_MS)


def test_the_same_seed_gives_the_same_operation():
    assert _hands(seed=7) == _hands(seed=7)
    assert _hands(seed=7) != _hands(seed=8)


def test_an_operation_begins_with_start_and_ends_with_finish():
    events = [movement.event for movement in _hands()]
    assert events[0] == "START"
    assert events[-1] == "FINISH"
    assert not {"START", "FINISH"} & set(events[1:-1])


def test_sixty_frames_make_a_second():
    movements = _hands(seconds=2.0)
    assert len(movements) == 120
    assert movements[0].timestamp == STARTED_MS
    assert movements[60].timestamp == STARTED_MS + 1000


def test_timestamps_rise_and_coordinates_are_three_finite_numbers():
    movements = _hands()
    assert all(a.timestamp < b.timestamp for a, b in pairwise(movements))
    assert all(
        len(m.coordinates) == 3 and all(map(math.isfinite, m.coordinates)) for m in movements
    )


def test_the_shortest_operation_still_starts_and_finishes():
    assert [m.event for m in _hands(seconds=0.0)] == ["START", "FINISH"]


def test_every_fragment_is_removed_once_in_a_long_operation():
    events = [movement.event for movement in _hands(seconds=120.0)]
    assert events.count("TUMOR_REMOVAL") == FRAGMENTS


def test_mishaps_are_rare():
    events = [movement.event for seed in range(20) for movement in _hands(seed=seed)]
    mishaps = sum(events.count(event) for event in ("KIDNEY_TOUCH", "HEMORRHAGE"))
    assert 0 < mishaps < events.count("TUMOR_REMOVAL") / 5


def test_minimum_jerk_rests_at_both_ends_and_peaks_in_the_middle():
    positions = np.array([minimum_jerk(share) for share in np.linspace(0.0, 1.0, 201)])
    speed = np.gradient(positions, 1 / 200)
    assert positions[0] == 0.0
    assert positions[-1] == pytest.approx(1.0)
    assert speed[0] == pytest.approx(0.0, abs=0.01)
    # Flash and Hogan: the peak speed is 1.875 times the mean, half-way.
    assert speed.max() == pytest.approx(1.875, rel=0.001)
    assert speed.argmax() == 100


def test_a_move_ends_at_its_target_and_far_takes_longer_than_near():
    near = list(_move((0.0, 0.0, 0.0), (0.1, 0.0, 0.0), RATE))
    far = list(_move((0.0, 0.0, 0.0), (2.0, 0.0, 0.0), RATE))
    assert far[-1][0] == pytest.approx((2.0, 0.0, 0.0))
    assert len(far) > len(near)


def test_tremor_is_small_and_between_8_and_12_hz():
    tremor = _Tremor(random.Random(3))
    seconds = 10
    samples = np.array([tremor.at(frame / RATE) for frame in range(seconds * RATE)])
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    band = (frequencies >= 7.5) & (frequencies <= 12.5)
    assert power[band].sum() > 0.95 * power.sum()
    assert np.abs(samples).max() <= TREMOR_SIZE
