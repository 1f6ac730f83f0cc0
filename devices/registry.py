"""The devices there are, in memory: what every reading is judged by."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from uuid import UUID

import msgspec

from devices.models import Device


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the hot path has to know of a device. `silence` is None for the server's default."""

    device_id: int
    account_id: UUID | None
    device_type: str
    is_active: bool
    silence: timedelta | None
    status: str

    @property
    def is_offline(self) -> bool:
        return self.status == Device.Status.OFFLINE


class Registry:
    """Devices by number, those out of service too. Belongs to the event loop's thread.

    Filled by `read_devices`, kept up by what the journal says of them.
    """

    def __init__(self) -> None:
        self._devices: dict[int, Known] = {}
        # The hot path asks for one device per message: no frame in between.
        self.get = self._devices.get

    def put(self, devices: Iterable[Known]) -> None:
        """Take these for what is true now."""
        self._devices.update((known.device_id, known) for known in devices)

    def replace(self, devices: Iterable[Known]) -> None:
        """Know these devices and no others."""
        self._devices.clear()
        self.put(devices)

    def drop(self, device_id: int) -> None:
        """Forget a device that does not exist any more."""
        self._devices.pop(device_id, None)

    def set_status(self, device_id: int, status: str) -> None:
        """Note a transition; a device that is not known stays unknown."""
        known = self._devices.get(device_id)
        if known is not None and known.status != status:
            self._devices[device_id] = msgspec.structs.replace(known, status=status)

    def __iter__(self) -> Iterator[Known]:
        return iter(list(self._devices.values()))

    def __len__(self) -> int:
        return len(self._devices)


def read_devices(device_id: int | None = None) -> list[Known]:
    """Read all devices from the database, or one (none when it does not exist)."""
    rows = Device.objects.all() if device_id is None else Device.objects.filter(pk=device_id)
    fields = ("pk", "account_id", "device_type", "is_active", "silence_seconds", "status")
    return [
        Known(
            device_id=pk,
            account_id=account_id,
            device_type=device_type,
            is_active=is_active,
            silence=None if silence is None else timedelta(seconds=silence),
            status=status,
        )
        for pk, account_id, device_type, is_active, silence, status in rows.values_list(*fields)
    ]
