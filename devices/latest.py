"""The last known value of every metric of every device, in memory."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from devices.clocks import SKEW
from devices.readings import METRICS_MAX, too_many_metrics
from realtime.core.events import Measured


class Latest:
    """Device -> metric -> its newest value. Belongs to the event loop's thread.

    At most `METRICS_MAX` metrics for a device; devices are forgotten by `drop`.
    """

    def __init__(self) -> None:
        self._values: dict[int, dict[str, Measured]] = {}

    def of(self, device_id: int) -> dict[str, Measured]:
        """Return what was measured last: metric -> value; empty when nothing ever was."""
        return dict(self._values.get(device_id, ()))

    def devices(self) -> list[int]:
        """Return the devices that measured something, lowest number first."""
        return sorted(self._values)

    def values_of(self, device_id: int, metrics: Mapping[str, Measured]) -> dict[str, Measured]:
        """Return the device's values themselves, for whoever is about to put `metrics` in.

        Raises Invalid for a metric beyond `METRICS_MAX`.
        """
        values = self._values.get(device_id)
        if values is None:
            values = self._values[device_id] = {}
        if len(values) + len(metrics) > METRICS_MAX:
            beyond = metrics.keys() - values.keys()
            if len(values) + len(beyond) > METRICS_MAX:
                raise too_many_metrics(min(beyond))
        return values

    def fill(self, values: Mapping[int, Mapping[str, Measured]]) -> None:
        """Take over what the database knows, where nothing newer came meanwhile."""
        for device_id, of_device in values.items():
            here = self._values.setdefault(device_id, {})
            for metric, measured in of_device.items():
                now = here.get(metric)
                if now is None or now.at < measured.at:
                    here[metric] = measured

    def keep_only(self, device_ids: Iterable[int]) -> None:
        """Forget all other devices."""
        for device_id in self._values.keys() - set(device_ids):
            self.drop(device_id)

    def drop(self, device_id: int) -> None:
        """Forget a device."""
        self._values.pop(device_id, None)


def is_newer(measured: Measured, before: Measured | None, received_at: datetime) -> bool:
    """Whether this value is the latest one. A time in the future does not outlast the present."""
    if before is None or measured.at > before.at:
        return True
    return before.at - received_at > SKEW and measured.at != before.at
