"""How smooth a movement is: SPARC and log dimensionless jerk of a speed profile. Pure numpy.

Sources: [B12] Balasubramanian, Melendez-Calderon, Burdet, "A Robust and Sensitive Metric for
Quantifying Movement Smoothness", IEEE Trans. Biomed. Eng. 59(8), 2012. [B15] Balasubramanian,
Melendez-Calderon, Roby-Brami, Burdet, "On the analysis of movement smoothness",
J. NeuroEng. Rehabil. 12:112, 2015. [H09] Hogan, Sternad, "Sensitivity of Smoothness Measures to
Movement Duration, Amplitude, and Arrests", J. Motor Behav. 41(6), 2009.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# The published parameters of [B15]: nothing above 10 Hz is voluntary movement, and what is
# below a twentieth of the peak is noise.
CUTOFF_HZ = 10.0
AMPLITUDE_THRESHOLD = 0.05
PADDING_LEVEL = 4
# Padding refines the spectrum; beyond this many points (70 minutes at 60 Hz) it would only
# cost memory, and long recordings are fine enough without.
PADDED_POINTS_MAX = 2**22
POINTS_MIN = 4


def sparc(speed: Floats, rate_hz: float) -> float | None:
    """Return the spectral arc length [B12] with adaptive cut-off [B15]; smooth is near 0.

    Minus the length of the curve of the speed's magnitude spectrum, normalised to 1 at its
    peak and to 1 in width, up to the highest frequency at most CUTOFF_HZ whose amplitude
    reaches AMPLITUDE_THRESHOLD. None when there are too few points or nothing moves.
    """
    if not _can_be_judged(speed):
        return None
    enough = 2 ** int(np.ceil(np.log2(speed.size)))
    points = max(enough, min(enough * 2**PADDING_LEVEL, PADDED_POINTS_MAX))
    frequency = np.fft.rfftfreq(points, 1 / rate_hz)
    magnitude = np.abs(np.fft.rfft(speed / speed.max(), points))
    magnitude = (magnitude / magnitude.max())[frequency <= CUTOFF_HZ]
    # A speed is never negative, so that its spectrum is loudest at 0 Hz and the band starts there.
    loudest = np.flatnonzero(magnitude >= AMPLITUDE_THRESHOLD)[-1]
    if not loudest:
        return None
    return float(-np.sum(np.hypot(1 / loudest, np.diff(magnitude[: loudest + 1]))))


def log_dimensionless_jerk(speed: Floats) -> float | None:
    """Return LDLJ [B15, after H09]: -ln(duration³ / peak² * ∫ (d²speed/dt²)² dt).

    Less negative is smoother. None when there are too few points or there is no jerk at all.
    """
    if not _can_be_judged(speed):
        return None
    # In units of the peak and the whole duration: the same number, and nothing overflows.
    jerk = np.diff(speed / speed.max(), 2) * float(speed.size) ** 2
    total = np.sum(jerk**2) / speed.size
    return float(-np.log(total)) if total else None


def speed_profile(seconds: Floats, positions: Floats) -> tuple[Floats, float]:
    """Return the speed at a steady rate, and that rate in Hz, from unevenly timed positions.

    `seconds` must not decrease; of positions at the same moment the last one counts. Between
    positions the path is straight; the rate is the mean rate of what was recorded.
    """
    distinct = np.append(np.diff(seconds) > 0, True)
    seconds, positions = seconds[distinct], positions[distinct]
    if seconds.size < POINTS_MIN:
        return np.zeros(0), 0.0
    rate_hz = (seconds.size - 1) / (seconds[-1] - seconds[0])
    grid = np.linspace(seconds[0], seconds[-1], seconds.size)
    even = np.column_stack([np.interp(grid, seconds, axis) for axis in positions.T])
    return np.linalg.norm(np.diff(even, axis=0), axis=1) * rate_hz, float(rate_hz)


def _can_be_judged(speed: Floats) -> bool:
    return speed.size >= POINTS_MIN and bool(np.all(np.isfinite(speed))) and bool(np.any(speed))
