"""Fetch with permission: the only way other packages get at a row."""

from devices.access.devices import (
    access_alert,
    access_command,
    access_device,
    access_rule,
    alerts_visible_to,
    commands_visible_to,
    device_of,
    devices_visible_to,
    rules_visible_to,
)
from devices.access.surgeries import (
    access_surgery,
    links_of,
    payloads_of,
    surgeries_visible_to,
    trajectory_json,
    unanalysed_among,
)

__all__ = [
    "access_alert",
    "access_command",
    "access_device",
    "access_rule",
    "access_surgery",
    "alerts_visible_to",
    "commands_visible_to",
    "device_of",
    "devices_visible_to",
    "links_of",
    "payloads_of",
    "rules_visible_to",
    "surgeries_visible_to",
    "trajectory_json",
    "unanalysed_among",
]
