"""The row that most services lock first, and what is said when it is not there."""

from devices.models import Device
from realtime.core.errors import NotFound

# Source: facts of seed 001's product, its REST texts.
NO_SUCH_DEVICE = "Device not found"


def lock_device(device_id: int) -> Device:
    """Return a device in service, locked. Raises NotFound."""
    device = find_device(device_id)
    if device is None:
        raise NotFound(NO_SUCH_DEVICE)
    return device


def find_device(device_id: int, *, in_service: bool = True) -> Device | None:
    """Return the device, locked; with `in_service` off one that was taken out of it as well.

    Others may refer to the row meanwhile: its key does not change.
    """
    # Its account is not joined: who waited for the lock would see the account from before.
    rows = Device.objects.filter(pk=device_id)
    if in_service:
        rows = rows.filter(is_active=True)
    return rows.select_for_update(no_key=True).first()
