"""Devices and rules to try everything with. Source: facts of seed 001's product, §2.6."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import cos, pi
from typing import Any, Final
from uuid import UUID

import msgspec
from django.contrib.auth.hashers import make_password
from django.db import transaction

from devices.models import AlertRule, Device
from devices.models.alert import Severity
from devices.readings import Report
from devices.services.devices import bind_account, change_status, register_device
from devices.services.telemetry import record_reports
from realtime.core.events import Measured

HOURS: Final = 24
# This very machine, as the simulator reports it.
THIS_MACHINE: Final = "THIS-MACHINE"


class Metric(msgspec.Struct, frozen=True):
    """What a device measures: between `low` and `high`."""

    name: str
    unit: str
    low: float
    high: float


class DemoDevice(msgspec.Struct, frozen=True):
    """A device as it is registered, and the status it has then."""

    external_id: str
    name: str
    device_type: str
    manufacturer: str
    model: str
    firmware_version: str
    location: str
    status: Device.Status = Device.Status.ONLINE

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return METRICS.get(self.device_type, ())

    @property
    def password(self) -> str:
        """Everybody knows it."""
        return f"{self.device_type}_secret"


METRICS: Final = {
    "sensor": (
        Metric("temperature", "°C", 18, 28),
        Metric("humidity", "%", 35, 65),
        Metric("pressure", "hPa", 1010, 1025),
        Metric("voltage", "V", 110, 125),
    ),
    "actuator": (
        Metric("flow_rate", "L/min", 50, 150),
        Metric("position", "%", 0, 100),
        Metric("power_consumption", "W", 100, 500),
        Metric("efficiency", "%", 70, 95),
    ),
}

DEMO_DEVICES: Final = (
    DemoDevice(
        "TEMP-001",
        "Temperature Sensor Alpha",
        "sensor",
        "SensorTech",
        "ST-T1000",
        "2.1.4",
        "Zone A - Server Room",
    ),
    DemoDevice(
        "PRESS-002",
        "Pressure Monitor Beta",
        "sensor",
        "PressurePro",
        "PP-M200",
        "3.0.1",
        "Zone B - Production Line",
    ),
    DemoDevice(
        "FLOW-003",
        "Flow Controller Gamma",
        "actuator",
        "FlowControl",
        "FC-X500",
        "1.8.2",
        "Zone C - Cooling System",
        Device.Status.WARNING,
    ),
    DemoDevice(
        "VOLT-004",
        "Voltage Sensor Delta",
        "sensor",
        "VoltMeter",
        "VM-V300",
        "2.5.0",
        "Zone D - Power Distribution",
        Device.Status.OFFLINE,
    ),
    DemoDevice(
        "HUMID-005",
        "Humidity Monitor Epsilon",
        "sensor",
        "HumidiTech",
        "HT-H400",
        "1.9.3",
        "Zone E - Storage Area",
    ),
    DemoDevice(
        THIS_MACHINE,
        "This machine",
        "server",
        "",
        "",
        "",
        "Where Vitalwire runs",
        Device.Status.OFFLINE,
    ),
)

# The clear thresholds are ours: without them a value at the edge would raise and clear by turns.
DEMO_RULES: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "High temperature",
        "device_type": "sensor",
        "metric": "temperature",
        "condition": AlertRule.Condition.GT,
        "threshold": 30.0,
        "clear_threshold": 29.0,
        "severity": Severity.WARNING,
    },
    {
        "name": "Low battery",
        "device_type": "sensor",
        "metric": "battery_level",
        "condition": AlertRule.Condition.LT,
        "threshold": 20.0,
        "clear_threshold": 25.0,
        "severity": Severity.CRITICAL,
    },
    {
        "name": "No connectivity",
        "metric": "connectivity",
        "condition": AlertRule.Condition.EQ,
        "threshold": 0.0,
        "severity": Severity.CRITICAL,
    },
)


@transaction.atomic
def create_demo_devices(*, now: datetime) -> list[str]:
    """Create the devices and rules that are missing; return what they are called.

    What exists keeps what was made of it, also when it was taken out of service. A new device
    has a day of readings, and the account `device-<id>` with its password.
    """
    there = set(Device.objects.values_list("external_id", flat=True))
    missing = [demo for demo in DEMO_DEVICES if demo.external_id not in there]
    # One hash for each password: hashing is slow on purpose, and there is nothing to protect.
    hashes = {password: make_password(password) for password in {m.password for m in missing}}
    for demo in missing:
        _create(demo, hashes[demo.password], now)
    ruled = set(AlertRule.objects.values_list("name", flat=True))
    unruled = [rule for rule in DEMO_RULES if rule["name"] not in ruled]
    for rule in unruled:
        AlertRule.objects.create(**rule)
    return [demo.external_id for demo in missing] + [rule["name"] for rule in unruled]


def _create(demo: DemoDevice, password_hash: str, now: datetime) -> None:
    device = register_device(
        external_id=demo.external_id,
        name=demo.name,
        device_type=demo.device_type,
        manufacturer=demo.manufacturer,
        model=demo.model,
        firmware_version=demo.firmware_version,
        location=demo.location,
        now=now,
    )
    account = bind_account(device.pk, now=now).account
    account.password = password_hash
    account.save(update_fields=["password"])
    record_reports(list(_day_of(demo, device.pk, account.pk, now)), now=now)
    change_status(device.pk, demo.status, reason="demo data", now=now)


def _day_of(demo: DemoDevice, device_id: int, account_id: UUID, now: datetime) -> Iterator[Report]:
    """Yield a report for each hour of the last day: warmest in the middle of it."""
    for hour in range(HOURS if demo.metrics else 0):
        at = now - timedelta(hours=HOURS - 1 - hour)
        share = (1 - cos(2 * pi * hour / HOURS)) / 2
        yield Report(
            device_id=device_id,
            account_id=account_id,
            metrics={
                metric.name: Measured(
                    round(metric.low + (metric.high - metric.low) * share, 1), metric.unit, at
                )
                for metric in demo.metrics
            },
            received_at=now,
        )
