"""The admin's pages about devices and operations, one file per thing."""

from devices.admin.alerts import AlertAdmin, AlertRuleAdmin
from devices.admin.commands import CommandAdmin
from devices.admin.devices import DeviceAdmin, StatusChangeAdmin
from devices.admin.surgeries import SurgeryAdmin, TrajectoryChunkAdmin
from devices.admin.telemetry import ReadingAdmin, RollupAdmin, SeriesAdmin

__all__ = [
    "AlertAdmin",
    "AlertRuleAdmin",
    "CommandAdmin",
    "DeviceAdmin",
    "ReadingAdmin",
    "RollupAdmin",
    "SeriesAdmin",
    "StatusChangeAdmin",
    "SurgeryAdmin",
    "TrajectoryChunkAdmin",
]
