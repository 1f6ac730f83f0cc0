"""The devices in memory."""

from datetime import timedelta

import pytest

from devices.models import Device
from devices.registry import Registry, read_devices
from devices.services.devices import issue_device_token, retire_device
from devices.tests.builders import NOW, a_device

pytestmark = pytest.mark.django_db


def test_devices_are_read_with_all_that_the_hot_path_needs(device: Device) -> None:
    silent = a_device("TEMP-002", device_type="pump", silence_seconds=30)
    issue_device_token(silent.pk, now=NOW)
    silent.refresh_from_db()
    first, second = read_devices()
    assert (first.device_id, first.account_id, first.silence) == (device.pk, None, None)
    assert first.is_offline
    assert (second.device_type, second.silence) == ("pump", timedelta(seconds=30))
    assert second.account_id == silent.account_id
    assert read_devices(silent.pk) == [second]
    assert read_devices(silent.pk + 999) == []


def test_a_device_out_of_service_is_known_as_such(device: Device) -> None:
    retire_device(device.pk, now=NOW)
    (known,) = read_devices()
    assert not known.is_active


def test_a_registry_is_kept_up(device: Device) -> None:
    registry = Registry()
    registry.put(read_devices())
    registry.set_status(device.pk, "online")
    registry.set_status(device.pk + 999, "online")
    known = registry.get(device.pk)
    assert known is not None
    assert not known.is_offline
    assert list(registry) == [known]
    registry.drop(device.pk)
    registry.drop(device.pk)
    assert (registry.get(device.pk), len(registry)) == (None, 0)
    registry.put([known])
    registry.replace([])
    assert len(registry) == 0
