"""The quick way through a batch says what the long way says, or leaves it to that."""

from datetime import UTC, datetime
from typing import Any

import pytest

from devices.api.bodies.batch import plain_readings
from devices.api.bodies.telemetry import NewReading, NewReadingOfDevice

WARM = {"metric_name": "temperature", "metric_value": 23.5}
ODD: list[Any] = [
    {},
    {"metric_value": 5},
    {"metric_value": "5"},
    {"metric_value": True},
    {"metric_value": None},
    {"metric_value": float("inf")},
    {"metric_value": 10**400},
    {"metric_name": ""},
    {"metric_name": " "},
    {"metric_name": " x "},
    {"metric_name": "a\n"},
    {"metric_name": "a\0"},
    {"metric_name": "\x85"},
    {"metric_name": "\ud800"},
    {"metric_name": "é" * 100},
    {"metric_name": "é" * 101},
    {"metric_name": 5},
    {"unit": ""},
    {"unit": "°C"},
    {"unit": "x" * 21},
    {"unit": None},
    {"unit": "\t"},
    {"timestamp": None},
    {"timestamp": "2024-01-01T12:00:00Z"},
    {"timestamp": 1704110400},
    {"timestamp": 1704110400.5},
    {"timestamp": -1},
    {"timestamp": 1e300},
    {"timestamp": "soon"},
    {"timestamp": True},
    {"timestamp": []},
    {"device_id": 1},
    {"device_id": "1"},
    {"device_id": 0},
    {"device_id": 2**63},
    {"device_id": None},
    {"device_id": True},
    {"metadata": {"any": ["thing"]}},
]


@pytest.mark.parametrize("needs_device", [False, True])
@pytest.mark.parametrize("odd", ODD)
def test_what_is_taken_quickly_is_what_the_serializers_take(
    odd: dict[str, Any], needs_device: bool
) -> None:
    item = {**WARM, **odd}
    form = (NewReadingOfDevice if needs_device else NewReading)(data=item)
    quick = plain_readings([item], most=10, needs_device=needs_device)
    if quick is not None:
        assert form.is_valid(), form.errors
        wanted = dict.fromkeys(("unit", "timestamp", "device_id")) | dict(form.validated_data)
        assert quick == [wanted]


def test_what_is_plain_goes_the_quick_way() -> None:
    item = {**WARM, "unit": "°C", "timestamp": "2024-01-01T12:00:00Z", "device_id": 1}
    assert plain_readings([item], most=10, needs_device=True) == [
        {**item, "timestamp": datetime(2024, 1, 1, 12, tzinfo=UTC)}
    ]


@pytest.mark.parametrize("given", [None, {}, [], [WARM] * 11, [5], [None]])
def test_what_is_no_batch_is_left_to_the_serializers(given: Any) -> None:
    assert plain_readings(given, most=10, needs_device=False) is None
