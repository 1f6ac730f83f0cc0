"""Events about devices for tests: every one is about device 1 of account "probe" unless told."""

from datetime import datetime
from typing import Any

from realtime.core.events import (
    AlertRaised,
    AlertUpdated,
    CommandEnded,
    CommandIssued,
    DevicesChanged,
    DeviceStatusChanged,
    Measured,
    RulesChanged,
    SystemSampled,
    TelemetryReceived,
)
from realtime.tests.doubles import NOW, user_id_of

UNITS = {"temperature": "°C", "humidity": "%", "pressure": "hPa"}


def measured(value: float = 23.5, unit: str = "°C", *, at: datetime = NOW) -> Measured:
    return Measured(value=value, unit=unit, at=at)


def telemetry(
    id: str = "e1",
    *,
    device: int = 1,
    account: str = "probe",
    crossed: tuple[str, ...] = (),
    **values: float,
) -> TelemetryReceived:
    """A report: `telemetry(temperature=23.5, humidity=45.2)`."""
    values = values or {"temperature": 23.5, "humidity": 45.2}
    metrics = {name: measured(value, UNITS.get(name, "")) for name, value in values.items()}
    return TelemetryReceived(
        **about_device(id, device, account), metrics=metrics, crossed=frozenset(crossed)
    )


def status_changed(
    id: str = "e1", *, device: int = 1, account: str = "probe", new_status: str = "offline"
) -> DeviceStatusChanged:
    return DeviceStatusChanged(
        **about_device(id, device, account),
        device="Sensor Alpha",
        old_status="online",
        new_status=new_status,
        reason="Connection lost",
        last_seen=NOW,
    )


def alert_raised(id: str = "e1", *, device: int | None = 1, **more: Any) -> AlertRaised:
    return AlertRaised(
        **about_alert(id, device, more),
        message="Temperature exceeds safe threshold",
        metric="temperature",
        threshold_value=30.0,
        actual_value=32.5,
    )


def alert_updated(
    id: str = "e1", *, device: int | None = 1, status: str = "acknowledged", **more: Any
) -> AlertUpdated:
    return AlertUpdated(
        **about_alert(id, device, more), status=status, by="operator", note="I go there."
    )


def command_issued(id: str = "e1", *, device: int = 1, account: str = "probe") -> CommandIssued:
    return CommandIssued(
        **about_device(id, device, account),
        command_id=7,
        command="restart",
        parameters={"delay": 5},
    )


def command_ended(
    id: str = "e1", *, device: int = 1, account: str = "probe", status: str = "executed"
) -> CommandEnded:
    return CommandEnded(
        **about_device(id, device, account),
        command_id=7,
        command="restart",
        status=status,
        result={"took": 3},
    )


def sampled(id: str = "e1", **metrics: float) -> SystemSampled:
    """A sample of this machine: `sampled(cpu_usage=45.2)`."""
    metrics = metrics or {"cpu_usage": 45.2, "memory_usage": 67.8, "active_connections": 15}
    return SystemSampled(id=id, at=NOW, node="node-1", metrics=metrics)


def devices_changed(id: str = "e1", *, device: int = 1) -> DevicesChanged:
    return DevicesChanged(id=id, at=NOW, device_id=device)


def rules_changed(id: str = "e1", *, rule: int = 1) -> RulesChanged:
    return RulesChanged(id=id, at=NOW, rule_id=rule)


def about_device(id: str, device: int, account: str) -> dict[str, Any]:
    return {"id": id, "at": NOW, "device_id": device, "account_id": user_id_of(account)}


def about_alert(id: str, device: int | None, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": id,
        "at": NOW,
        "alert_id": 123,
        "device_id": device,
        "account_id": None if device is None else user_id_of("probe"),
        "severity": "critical",
        "alert_type": "threshold",
        "title": "High Temperature Alert",
        **more,
    }
