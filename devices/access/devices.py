"""Devices, their commands, the rules and alerts about them: who gets which row.

Operators, viewers and administrators read all there is in service; the first and the last
manage it. A device has itself and its commands, nothing else.
"""

from uuid import UUID

from django.db.models import QuerySet

from accounts.access import Right, may
from accounts.models import User
from devices.access.people import id_of
from devices.models import Alert, AlertRule, Command, Device
from devices.services.alerts import NO_SUCH_ALERT, NO_SUCH_RULE
from devices.services.commands import NO_SUCH_COMMAND
from devices.services.rows import NO_SUCH_DEVICE
from realtime.core.errors import Forbidden, NotFound
from realtime.core.session import Principal

NOT_YOURS = "Your role does not allow this"


def devices_visible_to(who: Principal | User) -> QuerySet[Device]:
    """Return the devices in service that `who` may see, in the order of their numbers."""
    devices = Device.objects.filter(is_active=True)
    if may(who, Right.READ_DEVICES):
        return devices
    if may(who, Right.REPORT_OWN_READINGS):
        return devices.filter(account_id=id_of(who))
    return devices.none()


def access_device(
    who: Principal | User, device_id: int, *, to_write: bool = False, to_manage: bool = False
) -> Device:
    """Return one device in service. Raises NotFound before it asks whose it is, then Forbidden.

    `to_write` is for what a device reports of itself: readings, status, how a command went.
    `to_manage` is for all else, and never for the device.
    """
    device = Device.objects.filter(pk=device_id, is_active=True).first()
    if device is None:
        raise NotFound(NO_SUCH_DEVICE)
    if not _may_access(who, device, to_write=to_write, to_manage=to_manage):
        raise Forbidden(NOT_YOURS)
    return device


def device_of(user_id: UUID) -> Device | None:
    """Return the device in service that signs in with this account."""
    return Device.objects.filter(account_id=user_id, is_active=True).first()


def commands_visible_to(who: Principal | User) -> QuerySet[Command]:
    """Return the commands that `who` may see, newest first."""
    return Command.objects.filter(device__in=devices_visible_to(who))


def access_command(who: Principal | User, command_id: int, *, to_write: bool = False) -> Command:
    """Return one command with its device. `to_write` is for how it went.

    Raises NotFound, also when its device is out of service, then Forbidden.
    """
    commands = Command.objects.select_related("device")
    command = commands.filter(pk=command_id, device__is_active=True).first()
    if command is None:
        raise NotFound(NO_SUCH_COMMAND)
    if not _may_access(who, command.device, to_write=to_write):
        raise Forbidden(NOT_YOURS)
    return command


def alerts_visible_to(who: Principal | User) -> QuerySet[Alert]:
    """Return the alerts that `who` may see, newest first, also of devices out of service."""
    alerts = Alert.objects.select_related("device", "acknowledged_by", "resolved_by")
    return alerts if may(who, Right.READ_DEVICES) else alerts.none()


def access_alert(who: Principal | User, alert_id: int, *, to_write: bool = False) -> Alert:
    """Return one alert. Raises NotFound, then Forbidden."""
    alerts = Alert.objects.select_related("device", "acknowledged_by", "resolved_by")
    alert = alerts.filter(pk=alert_id).first()
    if alert is None:
        raise NotFound(NO_SUCH_ALERT)
    _check_right(who, to_write=to_write)
    return alert


def rules_visible_to(who: Principal | User) -> QuerySet[AlertRule]:
    """Return the alert rules that `who` may see, in the order of their numbers."""
    return AlertRule.objects.all() if may(who, Right.READ_DEVICES) else AlertRule.objects.none()


def access_rule(who: Principal | User, rule_id: int, *, to_write: bool = False) -> AlertRule:
    """Return one alert rule. Raises NotFound, then Forbidden."""
    rule = AlertRule.objects.filter(pk=rule_id).first()
    if rule is None:
        raise NotFound(NO_SUCH_RULE)
    _check_right(who, to_write=to_write)
    return rule


def _may_access(
    who: Principal | User, device: Device, *, to_write: bool, to_manage: bool = False
) -> bool:
    if may(who, Right.MANAGE_DEVICES if to_write or to_manage else Right.READ_DEVICES):
        return True
    is_own = device.account_id == id_of(who) and may(who, Right.REPORT_OWN_READINGS)
    return is_own and not to_manage


def _check_right(who: Principal | User, *, to_write: bool) -> None:
    if not may(who, Right.MANAGE_DEVICES if to_write else Right.READ_DEVICES):
        raise Forbidden(NOT_YOURS)
