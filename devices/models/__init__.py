"""What is measured and done, one file per thing."""

from devices.models.alert import Alert, AlertRule, Severity
from devices.models.device import Command, Device, StatusChange
from devices.models.surgery import Surgery, TrajectoryChunk
from devices.models.telemetry import Reading, Rollup, Series

__all__ = [
    "Alert",
    "AlertRule",
    "Command",
    "Device",
    "Reading",
    "Rollup",
    "Series",
    "Severity",
    "StatusChange",
    "Surgery",
    "TrajectoryChunk",
]
