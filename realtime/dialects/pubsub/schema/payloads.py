"""What happened, as the payload of a `Broadcast`; imports `realtime.core` only.

The keys are those of the REST interfaces' own documents, times are ISO 8601 as theirs are.
"""

from typing import Any

from realtime.core.events import (
    AlertEvent,
    AlertRaised,
    AlertUpdated,
    CommandEnded,
    CommandIssued,
    DeviceStatusChanged,
    Event,
    Measured,
    SurgeryAnalysed,
    SurgeryCompleted,
    SurgeryEvent,
    SurgeryInterrupted,
    SurgeryMoved,
    SurgeryStarted,
    SystemSampled,
    TelemetryReceived,
)


def payload_of(event: Event) -> dict[str, Any] | None:
    """Return what this dialect says of an event; None for what its clients never hear of."""
    match event:
        case SurgeryEvent():
            return _of_surgery(event)
        case AlertEvent():
            return _of_alert(event)
        case TelemetryReceived():
            return {
                "event": "TELEMETRY_RECEIVED",
                "deviceId": event.device_id,
                "telemetry": {
                    metric: _measured(measured) for metric, measured in event.metrics.items()
                },
            }
        case DeviceStatusChanged():
            return {
                "event": "DEVICE_STATUS_CHANGED",
                "deviceId": event.device_id,
                "device": event.device,
                "oldStatus": event.old_status,
                "newStatus": event.new_status,
                "reason": event.reason,
                "lastSeen": event.last_seen,
                "timestamp": event.at,
            }
        case CommandIssued():
            return _command("COMMAND_ISSUED", event, parameters=event.parameters)
        case CommandEnded():
            return _command("COMMAND_ENDED", event, status=event.status, result=event.result)
        case SystemSampled():
            return {
                "event": "SYSTEM_SAMPLED",
                "metrics": event.metrics,
                "timestamp": event.at,
            }
    return None


def _of_surgery(event: SurgeryEvent) -> dict[str, Any] | None:
    match event:
        case SurgeryStarted():
            return _surgery(
                "SURGERY_STARTED", event, startTime=event.started_at, resumed=event.resumed
            )
        case SurgeryMoved():
            return {
                "event": "SURGERY_MOVED",
                "surgeryId": event.surgery_id,
                "offset": event.offset,
                "movements": event.movements,
            }
        case SurgeryInterrupted():
            return _surgery("SURGERY_INTERRUPTED", event, movements=event.movements)
        case SurgeryCompleted():
            return _surgery(
                "NEW_SURGERY",
                event,
                endTime=event.ended_at,
                durationInSeconds=event.duration_seconds,
                movements=event.movements,
            )
        case SurgeryAnalysed():
            return _surgery("SURGERY_ANALYSED", event, score=event.score, feedback=event.feedback)
    return None


def _of_alert(event: AlertEvent) -> dict[str, Any] | None:
    match event:
        case AlertRaised():
            return _alert(
                "ALERT_RAISED",
                event,
                message=event.message,
                metric=event.metric,
                thresholdValue=event.threshold_value,
                actualValue=event.actual_value,
            )
        case AlertUpdated():
            return _alert("ALERT_UPDATED", event, status=event.status, by=event.by, note=event.note)
    return None


def _surgery(name: str, event: SurgeryEvent, **more: Any) -> dict[str, Any]:
    return {
        "event": name,
        "surgeryId": event.surgery_id,
        "surgeonId": event.surgeon_id,
        "surgeon": event.surgeon,
        **more,
    }


def _alert(name: str, event: AlertEvent, **more: Any) -> dict[str, Any]:
    return {
        "event": name,
        "alertId": event.alert_id,
        "deviceId": event.device_id,
        "severity": event.severity,
        "alertType": event.alert_type,
        "title": event.title,
        "timestamp": event.at,
        **more,
    }


def _command(name: str, event: CommandIssued | CommandEnded, **more: Any) -> dict[str, Any]:
    return {
        "event": name,
        "deviceId": event.device_id,
        "commandId": event.command_id,
        "command": event.command,
        **more,
    }


def _measured(measured: Measured) -> dict[str, Any]:
    """Return a value; with the figures of its window, where it closes one."""
    value: dict[str, Any] = {
        "value": measured.value,
        "unit": measured.unit,
        "timestamp": measured.at,
    }
    if measured.count is not None:
        value |= {"min": measured.low, "max": measured.high, "count": measured.count}
    return value
