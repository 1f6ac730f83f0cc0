"""SPARC and log dimensionless jerk against the numbers their authors published. No database."""

import numpy as np
import pytest

from devices.smoothness import log_dimensionless_jerk, sparc, speed_profile

RATE_HZ = 100.0
BELL = np.exp(-5 * np.arange(-1, 1, 0.01) ** 2)


def test_the_authors_example_is_reproduced() -> None:
    assert sparc(BELL, RATE_HZ) == pytest.approx(-1.41403, abs=5e-6)
    assert log_dimensionless_jerk(BELL) == pytest.approx(-5.81636, abs=5e-6)


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e200])
def test_neither_depends_on_how_large_the_movement_is(factor: float) -> None:
    assert sparc(BELL * factor, RATE_HZ) == pytest.approx(sparc(BELL, RATE_HZ))
    assert log_dimensionless_jerk(BELL * factor) == pytest.approx(log_dimensionless_jerk(BELL))


def test_two_strokes_are_less_smooth_than_one() -> None:
    strokes = np.concatenate([BELL, BELL])
    assert sparc(strokes, RATE_HZ) < sparc(BELL, RATE_HZ)
    assert log_dimensionless_jerk(strokes) < log_dimensionless_jerk(BELL)


@pytest.mark.parametrize(
    "speed", [np.zeros(0), np.ones(3), np.zeros(100), np.array([1, 2, np.inf, 1, 1])]
)
def test_what_cannot_be_judged_has_no_smoothness(speed: np.ndarray) -> None:
    assert sparc(speed, RATE_HZ) is None
    assert log_dimensionless_jerk(speed) is None


def test_uneven_times_become_a_steady_rate() -> None:
    seconds = np.array([0.0, 0.1, 0.1, 0.4, 0.5, 1.0])
    positions = np.column_stack([2 * seconds, 0 * seconds, 0 * seconds])
    speed, rate_hz = speed_profile(seconds, positions)
    assert rate_hz == pytest.approx(4.0)
    assert speed == pytest.approx(np.full(4, 2.0))


def test_too_few_moments_have_no_profile() -> None:
    speed, _ = speed_profile(np.zeros(50), np.ones((50, 3)))
    assert speed.size == 0
