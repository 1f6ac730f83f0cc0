"""Plausible hands: the movements of an operation, the same for the same seed.

Reaching: minimum-jerk moves (T. Flash and N. Hogan, "The coordination of arm movements",
J. Neurosci. 5, 1985) whose duration follows P. Fitts' law (1954). Holding still: the
physiological tremor of 8 to 12 Hz (R. Elble and W. Koller, "Tremor", 1990).
"""

import itertools
import math
import random
from collections.abc import Iterator

from realtime.core.movement import FINISH, Movement, SurgeryAction

Point = tuple[float, float, float]

RATE = 60
FRAGMENTS = 25
HOME: Point = (0.0, 0.0, 0.0)
TUMOUR: Point = (2.4, 1.6, -0.8)
TUMOUR_RADIUS = 0.6

# Fitts: seconds = A + B * log2(1 + distance / width), values of a trained hand with a tool.
FITTS_SECONDS = 0.15
FITTS_SECONDS_PER_BIT = 0.12
TARGET_WIDTH = 0.05
PAUSE_SECONDS = (0.15, 0.8)

TREMOR_HZ = (8.0, 12.0)
TREMOR_TONES = 3
TREMOR_SIZE = 0.004

# What may go wrong on arrival at a fragment, as chances.
SLIP_CHANCE = 0.12
KIDNEY_CHANCE = 0.04
HEMORRHAGE_CHANCE = 0.01


def minimum_jerk(share: float) -> float:
    """Return how much of the way is done after `share` of the time, both 0.0 to 1.0."""
    return share**3 * (10.0 + share * (6.0 * share - 15.0))


def hands(*, seed: int, seconds: float, started_ms: int, rate: int = RATE) -> list[Movement]:
    """Return an operation of `seconds`, START to FINISH, at `rate` frames a second."""
    chance = random.Random(seed)
    tremors = [_Tremor(chance) for _ in HOME]
    path = _path(chance, rate)
    last = max(2, round(seconds * rate)) - 1
    movements = []
    for index in range(last + 1):
        point, event = next(path)
        shaken = [
            round(value + tremor.at(index / rate), 5)
            for value, tremor in zip(point, tremors, strict=True)
        ]
        event = "START" if index == 0 else FINISH if index == last else event
        movements.append(Movement(shaken, event, started_ms + index * 1000 // rate))
    return movements


def _path(chance: random.Random, rate: int) -> Iterator[tuple[Point, SurgeryAction]]:
    """Yield place and event frame by frame: fragment after fragment, then looking around."""
    place = HOME
    for number in itertools.count():
        target = _fragment(chance)
        yield from _move(place, target, rate)
        if number < FRAGMENTS:
            yield from ((target, event) for event in _mishaps(chance))
            yield target, "TUMOR_REMOVAL"
        yield from _hold(target, chance, rate)
        place = target


def _fragment(chance: random.Random) -> Point:
    """Return a place in the tumour, denser towards its middle."""
    x, y, z = (middle + chance.gauss(0.0, TUMOUR_RADIUS / 2) for middle in TUMOUR)
    return x, y, z


def _move(start: Point, end: Point, rate: int) -> Iterator[tuple[Point, SurgeryAction]]:
    bits = math.log2(1.0 + math.dist(start, end) / TARGET_WIDTH)
    frames = max(1, round((FITTS_SECONDS + FITTS_SECONDS_PER_BIT * bits) * rate))
    for frame in range(1, frames + 1):
        done = minimum_jerk(frame / frames)
        x, y, z = (a + (b - a) * done for a, b in zip(start, end, strict=True))
        yield (x, y, z), "NONE"


def _hold(place: Point, chance: random.Random, rate: int) -> Iterator[tuple[Point, SurgeryAction]]:
    for _ in range(round(chance.uniform(*PAUSE_SECONDS) * rate)):
        yield place, "NONE"


def _mishaps(chance: random.Random) -> Iterator[SurgeryAction]:
    """Yield what the tool does wrong when it arrives: mostly nothing."""
    if chance.random() < SLIP_CHANCE:
        yield "TUMOR_TOUCH"
    if chance.random() < KIDNEY_CHANCE:
        yield "KIDNEY_TOUCH"
    if chance.random() < HEMORRHAGE_CHANCE:
        yield "HEMORRHAGE"


class _Tremor:
    """A few tones of one axis; their beat makes it swell and fade."""

    def __init__(self, chance: random.Random) -> None:
        self._tones = [
            (2 * math.pi * chance.uniform(*TREMOR_HZ), chance.uniform(0, 2 * math.pi))
            for _ in range(TREMOR_TONES)
        ]

    def at(self, seconds: float) -> float:
        total = sum(math.sin(speed * seconds + phase) for speed, phase in self._tones)
        return TREMOR_SIZE * total / TREMOR_TONES
