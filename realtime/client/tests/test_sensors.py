"""Simulated values stay plausible and repeat for a seed; this machine's are real."""

from collections import namedtuple
from datetime import datetime

import pytest

from realtime.client.sensors import METRICS_OF_TYPE, PROFILES, Machine, Sensors, timestamp

Chip = namedtuple("Chip", "current")


def values_of(sensors: Sensors, count: int) -> list[dict[str, float]]:
    return [{name: value.value for name, value in sensors.read().items()} for _ in range(count)]


@pytest.mark.parametrize("device_type", METRICS_OF_TYPE)
def test_a_device_measures_what_its_type_does(device_type):
    reading = Sensors(device_type, seed=1).read()
    assert tuple(reading) == METRICS_OF_TYPE[device_type]
    assert all(reading[name].unit == PROFILES[name].unit for name in reading)


def test_an_unknown_type_measures_as_a_sensor():
    assert tuple(Sensors("gadget", seed=1).read()) == METRICS_OF_TYPE["sensor"]


def test_the_same_seed_gives_the_same_values():
    assert values_of(Sensors("sensor", seed=4), 50) == values_of(Sensors("sensor", seed=4), 50)


def test_different_seeds_give_different_values():
    assert values_of(Sensors("sensor", seed=4), 5) != values_of(Sensors("sensor", seed=5), 5)


def test_most_values_lie_in_the_usual_range():
    profile = PROFILES["temperature"]
    values = [each["temperature"] for each in values_of(Sensors("sensor", seed=2), 5000)]
    usual = sum(profile.low <= value <= profile.high for value in values)
    assert usual > len(values) * 0.75


def test_now_and_then_something_breaks():
    values = [each["temperature"] for each in values_of(Sensors("sensor", seed=2), 5000)]
    # Above the threshold of the demo rule.
    assert sum(value > 30 for value in values) > 10


def test_this_machine_tells_what_the_system_says():
    reading = Machine().read()
    assert {"cpu_usage", "memory_usage", "disk_usage", "load_average"} <= reading.keys()
    assert 0 < reading["memory_usage"].value <= 100


class Probe:
    """A system with two chips."""

    cpu_percent = staticmethod(lambda interval: 12.5)
    virtual_memory = staticmethod(lambda: namedtuple("Memory", "percent")(40.0))
    disk_usage = staticmethod(lambda path: namedtuple("Disk", "percent")(60.0))
    getloadavg = staticmethod(lambda: (0.5, 0.4, 0.3))
    sensors_temperatures = staticmethod(
        lambda: {"coretemp": [Chip(41.0), Chip(47.0)], "nvme": [Chip(33.0)], "none": []}
    )


def test_the_warmest_sensor_of_each_chip_is_told():
    reading = Machine(Probe()).read()
    assert reading["temperature_coretemp"].value == 47.0
    assert reading["temperature_nvme"].value == 33.0
    assert "temperature_none" not in reading


def test_a_timestamp_says_its_zone():
    text = timestamp()
    assert text.endswith("Z")
    assert datetime.fromisoformat(text).utcoffset() is not None
