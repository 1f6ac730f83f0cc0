"""The one door from "what happened" to "who is told": domain signals become journal events.

Receivers run inside the transaction of the change: a failure here fails the change, and a
rollback leaves no event.
"""

import uuid
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.utils import timezone

from accounts.signals import access_changed
from devices import signals
from devices.models import Alert, Command, Device, Surgery
from devices.readings import Report
from realtime import journal
from realtime.core.events import (
    AccessChanged,
    AlertRaised,
    AlertUpdated,
    CommandEnded,
    CommandIssued,
    DevicesChanged,
    DeviceStatusChanged,
    RecordingClaimed,
    RulesChanged,
    SurgeryAnalysed,
    SurgeryCompleted,
    SurgeryInterrupted,
    SurgeryStarted,
)

# Who ended an alert when its condition went away by itself.
NOBODY = "system"

_hear_readings: list[Callable[[list[Report]], None]] = []


def connect() -> None:
    """Called once by the app registry."""
    for signal, receiver in (
        (signals.surgery_started, announce_start),
        (signals.surgery_completed, announce_completion),
        (signals.surgery_interrupted, announce_interruption),
        (signals.surgery_analysed, announce_analysis),
        (signals.recording_claimed, announce_claim),
        (signals.device_changed, announce_device_change),
        (signals.device_status_changed, announce_device_status),
        (signals.command_issued, announce_command),
        (signals.command_ended, announce_command_end),
        (signals.alert_raised, announce_alert),
        (signals.alert_updated, announce_alert_update),
        (signals.rules_changed, announce_rules_change),
        (signals.readings_recorded, announce_readings),
        (access_changed, announce_access_change),
    ):
        signal.connect(receiver, dispatch_uid=receiver.__name__)


def announce_start(surgery: Surgery, resumed: bool = False, **_: Any) -> None:
    journal.append(
        SurgeryStarted(**_about(surgery), started_at=surgery.started_at, resumed=resumed)
    )


def announce_completion(surgery: Surgery, **_: Any) -> None:
    journal.append(
        SurgeryCompleted(
            **_about(surgery),
            ended_at=surgery.ended_at,
            duration_seconds=surgery.duration_seconds,
            movements=surgery.movements,
        )
    )


def announce_interruption(surgery: Surgery, **_: Any) -> None:
    journal.append(SurgeryInterrupted(**_about(surgery), movements=surgery.movements))


def announce_analysis(surgery: Surgery, **_: Any) -> None:
    journal.append(
        SurgeryAnalysed(**_about(surgery), score=surgery.score, feedback=surgery.feedback)
    )


def announce_claim(surgery: Surgery, **_: Any) -> None:
    journal.append(RecordingClaimed(**_stamp(), surgery_id=surgery.id, recording=surgery.claimed))


def announce_access_change(
    user_id: UUID | None = None,
    role: str | None = None,
    token_id: str | None = None,
    **_: Any,
) -> None:
    journal.append(AccessChanged(**_stamp(), user_id=user_id, role=role, token_id=token_id))


def announce_device_change(device: Device, **_: Any) -> None:
    journal.append(DevicesChanged(**_stamp(), device_id=device.pk))


def announce_device_status(device: Device, old_status: str, **_: Any) -> None:
    journal.append(
        DeviceStatusChanged(
            **_stamp(),
            device_id=device.pk,
            account_id=device.account_id,
            device=device.name,
            old_status=old_status,
            new_status=device.status,
            reason=device.status_reason,
            last_seen=device.last_seen,
        )
    )


def announce_command(command: Command, **_: Any) -> None:
    journal.append(CommandIssued(**_about_command(command), parameters=command.parameters))


def announce_command_end(command: Command, **_: Any) -> None:
    journal.append(
        CommandEnded(**_about_command(command), status=command.status, result=command.result)
    )


def announce_alert(alert: Alert, **_: Any) -> None:
    journal.append(
        AlertRaised(
            **_about_alert(alert),
            message=alert.message,
            metric=alert.metric,
            threshold_value=alert.threshold_value,
            actual_value=alert.actual_value,
        )
    )


def announce_alert_update(alert: Alert, **_: Any) -> None:
    is_resolved = alert.status == Alert.Status.RESOLVED
    person = alert.resolved_by if is_resolved else alert.acknowledged_by
    journal.append(
        AlertUpdated(
            **_about_alert(alert),
            status=alert.status,
            by=person.username if person else NOBODY,
            note=alert.note,
        )
    )


def announce_rules_change(rule_id: int, **_: Any) -> None:
    journal.append(RulesChanged(**_stamp(), rule_id=rule_id))


def on_readings(listener: Callable[[list[Report]], None]) -> Callable[[], None]:
    """Call `listener` with what this process stored otherwise than from a socket, in the thread
    that stored it.

    Returns the function that ends it. Readings are live values: they are not in the journal.
    """
    _hear_readings.append(listener)
    return lambda: _hear_readings.remove(listener)


def announce_readings(readings: list[Report], **_: Any) -> None:
    for listener in _hear_readings:
        listener(readings)


def _about_alert(alert: Alert) -> dict[str, Any]:
    return {
        **_stamp(),
        "alert_id": alert.pk,
        "device_id": alert.device_id,
        "account_id": alert.device.account_id if alert.device else None,
        "rule_id": alert.rule_id,
        "severity": alert.severity,
        "alert_type": alert.alert_type,
        "title": alert.title,
    }


def _about_command(command: Command) -> dict[str, Any]:
    return {
        **_stamp(),
        "device_id": command.device_id,
        "account_id": command.device.account_id,
        "command_id": command.pk,
        "command": command.command,
    }


def _about(surgery: Surgery) -> dict[str, Any]:
    return {
        **_stamp(),
        "surgery_id": surgery.id,
        "surgeon_id": surgery.surgeon_id,
        "surgeon": surgery.surgeon.username,
    }


def _stamp() -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "at": timezone.now()}
