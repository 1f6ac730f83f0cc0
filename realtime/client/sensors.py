"""Plausible readings for devices that do not exist, and real ones of the machine we run on.

A simulated value wanders around its middle like an Ornstein-Uhlenbeck process (G. Uhlenbeck and
L. Ornstein, "On the theory of the Brownian motion", Phys. Rev. 36, 1930), the same for the same
seed. Now and then it makes an excursion, as something that breaks does.
"""

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import psutil

from realtime.client.device import Value

EXCURSION_CHANCE = 0.01
EXCURSION_STEPS = (5, 15)


class Profile(msgspec.Struct, frozen=True):
    """What a metric looks like: its unit, its usual range, and how far an excursion goes."""

    unit: str
    low: float
    high: float
    excursion: float = 0.0


# The original's mock devices; an excursion of a temperature passes the demo rule's 30 °C.
PROFILES = {
    "temperature": Profile("°C", 18, 28, 5),
    "humidity": Profile("%", 35, 65, 12),
    "pressure": Profile("hPa", 1010, 1025, 0),
    "voltage": Profile("V", 110, 125, 10),
    "flow_rate": Profile("L/min", 50, 150, -30),
    "position": Profile("%", 0, 100),
    "power_consumption": Profile("W", 100, 500, 150),
    "efficiency": Profile("%", 70, 95, -15),
    "battery_level": Profile("%", 30, 100, -15),
}
METRICS_OF_TYPE = {
    "sensor": ("temperature", "humidity", "pressure", "voltage"),
    "actuator": ("flow_rate", "position", "power_consumption", "efficiency"),
}


class Wander:
    """One metric's value, step by step. Stays near its usual range but for excursions."""

    def __init__(self, profile: Profile, chance: random.Random) -> None:
        self._profile = profile
        self._chance = chance
        self._middle = (profile.low + profile.high) / 2
        # Two standard deviations of the stationary process reach the ends of the range.
        self._spread = (profile.high - profile.low) / 4
        self._value = chance.gauss(self._middle, self._spread)
        self._away = 0

    def step(self) -> float:
        """Return the next value; two digits, as a cheap instrument gives them."""
        pull = 0.05
        noise = self._spread * math.sqrt(2 * pull) * self._chance.gauss(0, 1)
        self._value += pull * (self._middle - self._value) + noise
        if self._profile.excursion:
            if self._away:
                self._away -= 1
            elif self._chance.random() < EXCURSION_CHANCE:
                self._away = self._chance.randint(*EXCURSION_STEPS)
        end = self._profile.high if self._profile.excursion > 0 else self._profile.low
        return round(end + self._profile.excursion if self._away else self._value, 2)


class Sensors:
    """The metrics of one simulated device of a type; an unknown type measures as a sensor."""

    def __init__(self, device_type: str, *, seed: int) -> None:
        chance = random.Random(seed)
        names = METRICS_OF_TYPE.get(device_type, METRICS_OF_TYPE["sensor"])
        self._wanders = {name: Wander(PROFILES[name], chance) for name in names}

    def read(self) -> dict[str, Value]:
        """Return the next value of each metric, at this moment."""
        now = timestamp()
        return {
            name: Value(wander.step(), PROFILES[name].unit, now)
            for name, wander in self._wanders.items()
        }


class Machine:
    """This very machine: processor, memory, disk, load, temperatures where there are any."""

    def __init__(self, probe: Any = psutil) -> None:
        self._probe = probe
        # The first answer of cpu_percent counts from here; without it, it is always 0.
        probe.cpu_percent(interval=None)

    def read(self) -> dict[str, Value]:
        """Return what is known at this moment; psutil does not wait for anything here."""
        probe, now = self._probe, timestamp()
        values = {
            "cpu_usage": (probe.cpu_percent(interval=None), "%"),
            "memory_usage": (probe.virtual_memory().percent, "%"),
            "disk_usage": (probe.disk_usage("/").percent, "%"),
            "load_average": (probe.getloadavg()[0], ""),
            **self._temperatures(),
        }
        return {name: Value(round(value, 2), unit, now) for name, (value, unit) in values.items()}

    def _temperatures(self) -> dict[str, tuple[float, str]]:
        """Return the warmest of each chip, where this system tells."""
        sensors: Callable[[], dict[str, list[Any]]] | None = getattr(
            self._probe, "sensors_temperatures", None
        )
        chips = sensors() if sensors is not None else {}
        return {
            f"temperature_{chip}": (max(sensor.current for sensor in found), "°C")
            for chip, found in chips.items()
            if found
        }


def timestamp() -> str:
    """Return this moment as devices write it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
