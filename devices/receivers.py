"""From a saved row to what happened: on the transition only, inside its transaction."""

from collections.abc import Collection
from typing import Any

from django.db.models.signals import post_save

from devices import signals
from devices.models import Surgery
from devices.models.surgery import Remembered

NEVER_SAVED = Remembered(status="", claimed=0, score=None, feedback=None)


def connect() -> None:
    """Listen to every save; called once, when the applications are ready."""
    post_save.connect(announce_transition, sender=Surgery, dispatch_uid="devices.transitions")


def announce_transition(
    *,
    instance: Surgery,
    created: bool,
    raw: bool,
    update_fields: Collection[str] | None,
    **_: Any,
) -> None:
    """Compare what was saved with what the database said before."""
    before = NEVER_SAVED if created else instance.remembered or NEVER_SAVED
    instance.remember()
    if raw:
        return

    def has_changed(field: str) -> bool:
        is_saved = update_fields is None or field in update_fields
        return is_saved and getattr(before, field) != getattr(instance, field)

    if has_changed("status"):
        _announce_status(instance, before.status)
    if has_changed("score") or has_changed("feedback"):
        signals.surgery_analysed.send(Surgery, surgery=instance)
    if has_changed("claimed") and instance.node and not created:
        signals.recording_claimed.send(Surgery, surgery=instance)


def _announce_status(surgery: Surgery, before: str) -> None:
    match surgery.status:
        case Surgery.Status.IN_PROGRESS:
            signals.surgery_started.send(Surgery, surgery=surgery, resumed=bool(before))
        case Surgery.Status.COMPLETED:
            signals.surgery_completed.send(Surgery, surgery=surgery)
        case Surgery.Status.INTERRUPTED:
            signals.surgery_interrupted.send(Surgery, surgery=surgery)
