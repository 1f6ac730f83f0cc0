"""Motion metrics and the reference score of a trajectory. Pure: runs in a child process.

The pipeline is that of the reference AI service; where it says "undefined", we say None.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from devices import feedback
from devices.smoothness import Floats, log_dimensionless_jerk, sparc, speed_profile
from devices.trajectory import Movement, decode_movements
from realtime.core.errors import Invalid

KIDNEY_PENALTY = 5
HEMORRHAGE_PENALTY = 25
DETOUR_PENALTY = 10
DETOUR_ECONOMY = 1.8
TUMOR_FRAGMENTS = 25
# Our own threshold: the notion (D'Angelo et al., "Idle time: an underdeveloped performance
# metric for assessing surgical skill", Am. J. Surg. 209, 2015) counts centimetres, and the
# scene has no unit. A twentieth of the peak is where movements are usually said to begin.
IDLE_SPEED_FRACTION = 0.05


class Dexterity(msgspec.Struct, frozen=True, rename="camel"):
    """How the instrument moved, in scene units and seconds.

    `economy` is the path's length over the straight distance from first to last point, 1
    when they coincide; `max_acceleration` and `mean_jerk` are of the change in speed.
    """

    points: int
    duration_seconds: float
    path_length: float | None
    economy: float | None
    mean_speed: float | None
    max_acceleration: float | None
    mean_jerk: float | None
    mean_deviation: float | None
    precision: float | None
    idle_seconds: float
    sparc: float | None
    log_dimensionless_jerk: float | None


class Risk(msgspec.Struct, frozen=True, rename="camel"):
    """What went wrong or was achieved; the quadrants are those of harm, in order of appearance."""

    tumor_removals: int
    tumor_progress: float
    hemorrhages: int
    kidney_touches: int
    tumor_touches: int
    risk_quadrants: list[str]


class Assessment(msgspec.Struct, frozen=True, rename="camel"):
    """The reference score, 0 to 100, its label, the Spanish text for the surgeon, and why."""

    score: float
    label: str
    feedback: str
    dexterity: Dexterity
    risk: Risk


def metrics_of(payloads: list[bytes]) -> dict[str, Any]:
    """Return every metric of a stored trajectory, flat and ready for JSON.

    `payloads` are the chunks' JSON arrays in order. Raises Invalid when they hold nothing.
    """
    assessment = assess([m for payload in payloads for m in decode_movements(payload)])
    return {
        **msgspec.to_builtins(assessment.dexterity),
        **msgspec.to_builtins(assessment.risk),
        "score": assessment.score,
        "label": assessment.label,
    }


def assess(movements: Sequence[Movement] | Sequence[Mapping[str, Any]]) -> Assessment:
    """Return the reference assessment of a trajectory, in whatever order it arrived.

    Takes movements or the REST trajectory's objects. Raises Invalid for none at all, since
    the reference posts no score then, and msgspec.ValidationError for what is no movement.
    """
    known = msgspec.convert(movements, list[Movement])
    if not known:
        raise Invalid("the trajectory holds no movement", field="movements")
    known.sort(key=lambda movement: movement.timestamp)
    positions = np.array([(*m.coordinates, 0.0)[:3] for m in known], dtype=np.float64)
    stamps = np.array([m.timestamp for m in known], dtype=np.int64)
    seconds = (stamps - stamps[0]) / 1000.0
    # Coordinates are any finite number: their squares may not be, and then are None, not a crash.
    with np.errstate(over="ignore", invalid="ignore"):
        dexterity = _dexterity(seconds, positions)
        risk = _risk([m.event for m in known], positions)
    score = _score(dexterity, risk)
    return Assessment(
        score=score,
        label=feedback.label_of(score),
        feedback=feedback.text_of(score, dexterity, risk),
        dexterity=dexterity,
        risk=risk,
    )


def _dexterity(seconds: Floats, positions: Floats) -> Dexterity:
    steps = np.linalg.norm(np.diff(positions, axis=0, prepend=positions[:1]), axis=1)
    waits = np.diff(seconds, prepend=seconds[0])
    speed = _per_second(steps, waits)
    acceleration = _per_second(np.diff(speed), waits[1:])
    jerk = _per_second(np.diff(acceleration), waits[2:])
    path_length = np.sum(steps)
    straight = np.linalg.norm(positions[-1] - positions[0])
    mean_deviation = np.mean(_deviations(positions))
    even_speed, rate_hz = speed_profile(seconds, positions)
    return Dexterity(
        points=len(positions),
        duration_seconds=float(seconds[-1]),
        path_length=_finite(path_length),
        economy=_finite(path_length / straight) if straight else 1.0,
        mean_speed=_finite(np.mean(speed)),
        max_acceleration=_finite(np.max(np.abs(acceleration))) if acceleration.size else None,
        mean_jerk=_finite(np.mean(np.abs(jerk))) if jerk.size else None,
        mean_deviation=_finite(mean_deviation),
        precision=_finite(np.maximum(0.0, 100 - 10 * mean_deviation)),
        idle_seconds=float(np.sum(waits[speed <= IDLE_SPEED_FRACTION * np.max(speed)])),
        sparc=sparc(even_speed, rate_hz),
        log_dimensionless_jerk=log_dimensionless_jerk(even_speed),
    )


def _per_second(change: Floats, waits: Floats) -> Floats:
    """Divide by the time it took; 0 where no time passed, as the reference does."""
    return np.divide(change, waits, out=np.zeros_like(change), where=waits > 0)


def _deviations(positions: Floats) -> Floats:
    """Return each point's distance to the line through first and last, or to their one place."""
    away = positions - positions[0]
    direction = positions[-1] - positions[0]
    length = np.linalg.norm(direction)
    if not length:
        return np.linalg.norm(away, axis=1)
    return np.linalg.norm(np.cross(away, direction / length), axis=1)


def _risk(events: list[str], positions: Floats) -> Risk:
    counts = Counter(events)
    halves = positions.max(axis=0) / 2 + positions.min(axis=0) / 2
    harmed = (
        _quadrant(point, halves)
        for event, point in zip(events, positions, strict=True)
        if event in ("HEMORRHAGE", "KIDNEY_TOUCH")
    )
    return Risk(
        tumor_removals=counts["TUMOR_REMOVAL"],
        tumor_progress=counts["TUMOR_REMOVAL"] / TUMOR_FRAGMENTS * 100,
        hemorrhages=counts["HEMORRHAGE"],
        kidney_touches=counts["KIDNEY_TOUCH"],
        tumor_touches=counts["TUMOR_TOUCH"],
        risk_quadrants=list(dict.fromkeys(harmed)),
    )


def _quadrant(point: Floats, middle: Floats) -> str:
    return ("Sup" if point[1] > middle[1] else "Inf") + ("-Der" if point[0] > middle[0] else "-Izq")


def _score(dexterity: Dexterity, risk: Risk) -> float:
    score = 100 - KIDNEY_PENALTY * risk.kidney_touches - HEMORRHAGE_PENALTY * risk.hemorrhages
    if dexterity.economy is not None and dexterity.economy > DETOUR_ECONOMY:
        score -= DETOUR_PENALTY
    return float(min(100, max(0, score)))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
