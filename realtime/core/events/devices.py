"""What devices measure and report, what is raised about them, and how this machine fares."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from realtime.core.events.base import Event

# Where the alerts of no device in particular are heard.
SYSTEM = "system"


class DeviceEvent(Event, frozen=True, kw_only=True):
    """Base of what concerns one device. `account_id` is the account it signs in with, if any."""

    device_id: int
    account_id: UUID | None = None

    @property
    def owner(self) -> UUID | None:
        return self.account_id


class Measured(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One metric's value in `unit` at the device's time `at`, aware UTC.

    `low`, `high` and `count` describe the window that this value closes, for those who hear
    at a frequency.
    """

    value: float
    unit: str
    at: datetime
    low: float | None = None
    high: float | None = None
    count: int | None = None


class TelemetryReceived(DeviceEvent, frozen=True, kw_only=True):
    """A device reported values: metric -> value. `crossed` names those that just crossed the
    threshold of an alert rule, in either direction.
    """

    durable: ClassVar[bool] = False

    metrics: dict[str, Measured]
    crossed: frozenset[str] = frozenset()

    @property
    def topic(self) -> str:
        return f"telemetry.{self.device_id}"

    @property
    def conflation_key(self) -> str:
        return f"telemetry.{self.device_id}:{','.join(sorted(self.metrics))}"


class DeviceStatusChanged(DeviceEvent, frozen=True, kw_only=True):
    """A device changed its status, or we did for it."""

    device: str
    old_status: str
    new_status: str
    reason: str
    last_seen: datetime | None

    @property
    def topic(self) -> str:
        return f"devices.{self.device_id}"


class AlertEvent(Event, frozen=True, kw_only=True):
    """Base of what happens to one alert; `device_id` is None for one about this system.

    `rule_id` is that of the rule that raised it, if any.
    """

    alert_id: int
    device_id: int | None
    account_id: UUID | None = None
    rule_id: int | None = None
    severity: str
    alert_type: str
    title: str

    @property
    def topic(self) -> str:
        return f"alerts.{SYSTEM if self.device_id is None else self.device_id}"

    @property
    def owner(self) -> UUID | None:
        return self.account_id


class AlertRaised(AlertEvent, frozen=True, kw_only=True):
    """A new alert. `threshold_value` and `actual_value` are None where there is no number."""

    message: str
    metric: str = ""
    threshold_value: float | None = None
    actual_value: float | None = None


class AlertUpdated(AlertEvent, frozen=True, kw_only=True):
    """An alert was acknowledged or resolved; `by` is a username, or "system"."""

    status: str
    by: str
    note: str = ""


class CommandIssued(DeviceEvent, frozen=True, kw_only=True):
    """Somebody wants a device to do something; it is delivered once, now or when it returns."""

    command_id: int
    command: str
    parameters: dict[str, Any]

    @property
    def topic(self) -> str:
        return f"commands.{self.device_id}"


class CommandEnded(DeviceEvent, frozen=True, kw_only=True):
    """A command was executed, failed or expired."""

    command_id: int
    command: str
    status: str
    result: dict[str, Any]

    @property
    def topic(self) -> str:
        return f"commands.{self.device_id}"


class SystemSampled(Event, frozen=True, kw_only=True):
    """How this deployment fares: metric -> number; percentages from 0 to 100."""

    durable: ClassVar[bool] = False

    node: str
    metrics: dict[str, float]

    @property
    def topic(self) -> str:
        return SYSTEM
