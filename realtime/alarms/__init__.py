"""Alert rules at work: which process evaluates a device, and what comes of it."""

from realtime.alarms.alarms import Alarms

__all__ = ["Alarms"]
