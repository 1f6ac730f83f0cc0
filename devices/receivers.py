"""From a saved row to what happened: on the transition only, inside its transaction."""

from collections.abc import Callable, Collection
from typing import Any

from django.db.models.signals import post_delete, post_save, pre_delete
from django.utils import timezone

from accounts.models import Remembering
from devices import signals
from devices.models import Alert, AlertRule, Command, Device, Surgery
from devices.models.surgery import Remembered
from devices.services.alerts import resolve_alerts_of

NEVER_SAVED = Remembered(status="", claimed=0, score=None, feedback=None)
ENDED = frozenset({Command.Status.EXECUTED, Command.Status.FAILED, Command.Status.EXPIRED})


def connect() -> None:
    """Listen to every save; called once, when the applications are ready."""
    post_save.connect(announce_transition, sender=Surgery, dispatch_uid="devices.transitions")
    for model in ANNOUNCERS:
        post_save.connect(announce_change, sender=model, dispatch_uid=f"devices.{model.__name__}")
    post_save.connect(announce_rule, sender=AlertRule, dispatch_uid="devices.rule")
    pre_delete.connect(end_alerts_of_rule, sender=AlertRule, dispatch_uid="devices.rule.alerts")
    post_delete.connect(announce_rule_end, sender=AlertRule, dispatch_uid="devices.rule.end")


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


def announce_change(
    *,
    sender: type[Remembering],
    instance: Remembering,
    created: bool,
    raw: bool,
    update_fields: Collection[str] | None,
    **_: Any,
) -> None:
    """Tell what the save of a row that remembers changed."""
    before = instance.take_changes(created=created, update_fields=update_fields)
    if not raw:
        ANNOUNCERS[sender](instance, created, before)


def _announce_device(device: Device, created: bool, before: dict[str, Any]) -> None:
    if "status" in before:
        old_status = before.pop("status")
        signals.device_status_changed.send(Device, device=device, old_status=old_status)
    if created or before:
        signals.device_changed.send(Device, device=device)


def _announce_command(command: Command, created: bool, before: dict[str, Any]) -> None:
    if created:
        signals.command_issued.send(Command, command=command)
    elif "status" in before and command.status in ENDED:
        signals.command_ended.send(Command, command=command)


def _announce_alert(alert: Alert, created: bool, before: dict[str, Any]) -> None:
    if created:
        signals.alert_raised.send(Alert, alert=alert)
    elif "status" in before:
        signals.alert_updated.send(Alert, alert=alert)


# What a saved row of each kind may mean to others; `before` has the values that it replaced.
ANNOUNCERS: dict[type[Remembering], Callable[[Any, bool, dict[str, Any]], None]] = {
    Device: _announce_device,
    Command: _announce_command,
    Alert: _announce_alert,
}


def announce_rule(*, instance: AlertRule, raw: bool, **_: Any) -> None:
    if not raw:
        signals.rules_changed.send(AlertRule, rule_id=instance.pk)


def end_alerts_of_rule(*, instance: AlertRule, **_: Any) -> None:
    """Nothing else would ever end them, whoever deletes the rule."""
    resolve_alerts_of(instance, note="Its rule was deleted.", now=timezone.now())


def announce_rule_end(*, instance: AlertRule, **_: Any) -> None:
    signals.rules_changed.send(AlertRule, rule_id=instance.pk)
