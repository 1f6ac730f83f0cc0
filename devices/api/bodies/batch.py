"""A batch of readings, checked quickly where nothing is wrong with it.

A thousand readings take the serializers 50 ms, which every socket of this process would feel.
What is plain and good is taken here in 2 ms; anything else goes the long way, which also says
what is wrong.
"""

import math
from datetime import datetime
from typing import Annotated, Any

import msgspec

from devices.api.fields import ID_MAX, TIME_MAX, TIME_MIN, moment_of

# No control characters, no half ones; and for a name something to see.
TEXT = r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z"
NAME = r"\A(?=.*\S)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z"


class _Plain(msgspec.Struct):
    """As strict as NewReading, and stricter where that costs time."""

    metric_name: Annotated[str, msgspec.Meta(max_length=100, pattern=NAME)]
    metric_value: float
    unit: Annotated[str, msgspec.Meta(max_length=20, pattern=TEXT)] | None = None
    timestamp: str | int | float | None = None
    device_id: Annotated[int, msgspec.Meta(ge=1, le=ID_MAX)] | None = None


def plain_readings(given: Any, *, most: int, needs_device: bool) -> list[dict[str, Any]] | None:
    """Return what the serializers would; None where they have to look at it themselves."""
    if not isinstance(given, list) or not 1 <= len(given) <= most:
        return None
    try:
        return [_fields(each, needs_device) for each in msgspec.convert(given, list[_Plain])]
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _fields(plain: _Plain, needs_device: bool) -> dict[str, Any]:
    if not math.isfinite(plain.metric_value) or (needs_device and plain.device_id is None):
        raise ValueError
    return {
        "metric_name": plain.metric_name,
        "metric_value": plain.metric_value,
        "unit": plain.unit,
        "timestamp": None if plain.timestamp is None else _time(plain.timestamp),
        "device_id": plain.device_id,
    }


def _time(given: str | float) -> datetime:
    moment = moment_of(given)
    if not TIME_MIN <= moment < TIME_MAX:
        raise ValueError
    return moment
