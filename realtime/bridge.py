"""The one door from "what happened" to "who is told": domain signals become journal events.

Receivers run inside the transaction of the change: a failure here fails the change, and a
rollback leaves no event.
"""

import uuid
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from accounts.signals import access_changed
from devices import signals
from devices.models import Surgery
from realtime import journal
from realtime.core.events import (
    AccessChanged,
    RecordingClaimed,
    SurgeryAnalysed,
    SurgeryCompleted,
    SurgeryInterrupted,
    SurgeryStarted,
)


def connect() -> None:
    """Called once by the app registry."""
    for signal, receiver in (
        (signals.surgery_started, announce_start),
        (signals.surgery_completed, announce_completion),
        (signals.surgery_interrupted, announce_interruption),
        (signals.surgery_analysed, announce_analysis),
        (signals.recording_claimed, announce_claim),
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
    journal.append(
        RecordingClaimed(id=_new_id(), at=_now(), surgery_id=surgery.id, recording=surgery.claimed)
    )


def announce_access_change(
    user_id: UUID | None = None,
    role: str | None = None,
    token_id: str | None = None,
    **_: Any,
) -> None:
    journal.append(
        AccessChanged(id=_new_id(), at=_now(), user_id=user_id, role=role, token_id=token_id)
    )


def _about(surgery: Surgery) -> dict[str, Any]:
    return {
        "id": _new_id(),
        "at": _now(),
        "surgery_id": surgery.id,
        "surgeon_id": surgery.surgeon_id,
        "surgeon": surgery.surgeon.username,
    }


def _new_id() -> str:
    return str(uuid.uuid4())


def _now() -> datetime:
    return timezone.now()
