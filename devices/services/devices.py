"""Every write to a device but its configuration by forms: one verb per function, one transaction.

A device taken out of service is as good as gone: NotFound. Times are passed in, aware UTC.
"""

import logging
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import (
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    Q,
    QuerySet,
    Value,
)
from django.db.models.functions import Cast, Coalesce, Greatest

from accounts import roles, tokens
from accounts.models import User
from accounts.services import deactivate_user, revoke_all_tokens
from devices.models import Device, StatusChange
from devices.services.alerts import resolve_alerts_of
from devices.services.commands import expire_commands_of
from devices.services.rows import NO_SUCH_DEVICE, find_device, lock_device
from realtime.core.errors import Conflict, NotFound

log = logging.getLogger("vitalwire.devices")

# Source: facts of seed 001's product, its REST texts.
ID_TAKEN = "Device ID already exists"

# What a person may say of a device; its state is not among it.
CONFIGURATION = frozenset(
    {
        "name",
        "external_id",
        "device_type",
        "manufacturer",
        "model",
        "firmware_version",
        "location",
        "silence_seconds",
        "metadata",
        "configuration",
    }
)

# A device that went offline lately is given more time before it does so again, twice as much
# for each time, or one at the edge of its radio would raise two events a minute.
FLAPPING_WINDOW = timedelta(minutes=10)
DAMPING_MAX = 8

# These are silent on purpose, or known to be.
_NOT_WATCHED = (Device.Status.OFFLINE, Device.Status.MAINTENANCE)


# --- Configuration --------------------------------------------------------------------------


def register_device(
    *, name: str, external_id: str, device_type: str, now: datetime, **fields: Any
) -> Device:
    """Put a device into service, offline until it gives a sign of life.

    `fields` are more of CONFIGURATION. Raises Conflict when the external id is in service.
    """
    _check_names(fields)
    device = Device(
        name=name,
        external_id=external_id,
        device_type=device_type,
        created_at=now,
        updated_at=now,
        status_since=now,
        **fields,
    )
    _save_unless_taken(device, force_insert=True)
    log.info("device %d registered", device.pk)
    return device


@transaction.atomic
def update_device(device_id: int, *, now: datetime, **fields: Any) -> Device:
    """Change some of CONFIGURATION. Raises NotFound, and Conflict for an external id in service."""
    _check_names(fields)
    device = lock_device(device_id)
    changed = [name for name, value in fields.items() if getattr(device, name) != value]
    if changed:
        for name in changed:
            setattr(device, name, fields[name])
        device.updated_at = now
        _save_unless_taken(device, update_fields=[*changed, "updated_at"])
    return device


@transaction.atomic
def retire_device(device_id: int, *, now: datetime) -> Device:
    """Take a device out of service: it cannot sign in, is told nothing, and nothing is open.

    What it measured stays. Raises NotFound, also when it was taken out before.
    """
    device = lock_device(device_id)
    _change_status(device, Device.Status.OFFLINE, reason="taken out of service", now=now)
    device.is_active = False
    device.updated_at = now
    device.save(update_fields=["is_active", "updated_at"])
    if device.account is not None:
        deactivate_user(device.account)
    expire_commands_of(device, now=now)
    resolve_alerts_of(device, note="The device was taken out of service.", now=now)
    log.info("device %d taken out of service", device_id)
    return device


@transaction.atomic
def restore_device(device_id: int, *, now: datetime) -> Device:
    """Put a device back into service, with its account; once there, nothing happens.

    Raises NotFound, and Conflict when another device with its external id is in service.
    """
    device = find_device(device_id, in_service=False)
    if device is None:
        raise NotFound(NO_SUCH_DEVICE)
    if device.is_active:
        return device
    device.is_active = True
    device.updated_at = now
    _save_unless_taken(device, update_fields=["is_active", "updated_at"])
    if device.account is not None:
        device.account.is_active = True
        device.account.save(update_fields=["is_active"])
    log.info("device %d is in service again", device_id)
    return device


@transaction.atomic
def bind_account(device_id: int, *, now: datetime) -> Device:
    """Make the account a device signs in with, unless it has one. Raises NotFound.

    It has no password: its tokens are issued.
    """
    device = lock_device(device_id)
    if device.account is None:
        device.account = _new_account(device_id, now)
        device.updated_at = now
        device.save(update_fields=["account", "updated_at"])
    return device


@transaction.atomic
def issue_device_token(
    device_id: int, *, now: datetime, revokes_others: bool = False
) -> tuple[Device, str]:
    """Return a token for a device, which is stored nowhere; make its account when it has none.

    The tokens it has stay good, so that a new one can be brought to it first; with
    `revokes_others` they end. Raises NotFound, and Conflict when its account may not sign in.
    """
    device = bind_account(device_id, now=now)
    account: User = device.account
    if not account.is_active or account.role_id != roles.DEVICE:
        raise Conflict(f"its account {account} is not active, or not a {roles.DEVICE}")
    if revokes_others:
        account = revoke_all_tokens(account, now=now)
    log.info("a token for device %d was issued", device_id)
    return device, tokens.issue_access(account, now=now)


def _new_account(device_id: int, now: datetime) -> User:
    """Create the account `device-<id>`, or one like it where somebody took that name."""
    name = f"device-{device_id}"
    if User.objects.filter(username=name).exists():
        name = f"{name}-{secrets.token_hex(4)}"
    return User.objects.create_user(
        name, role=roles.DEVICE, created_at=now, tokens_valid_from=now.replace(microsecond=0)
    )


def _check_names(fields: Iterable[str]) -> None:
    unknown = set(fields) - CONFIGURATION
    if unknown:
        raise TypeError(f"not configuration of a device: {sorted(unknown)}")


def _save_unless_taken(device: Device, **kwargs: Any) -> None:
    """Save; the constraint of the database decides who of two was first."""
    try:
        with transaction.atomic():
            device.save(**kwargs)
    except IntegrityError as error:
        if _rows_with_id_of(device).exists():
            raise Conflict(ID_TAKEN) from error
        raise


def _rows_with_id_of(device: Device) -> QuerySet[Device]:
    same = Device.objects.filter(external_id=device.external_id, is_active=True)
    return same.exclude(pk=device.pk)


# --- State ----------------------------------------------------------------------------------


@transaction.atomic
def change_status(device_id: int, status: str, *, reason: str, now: datetime) -> bool:
    """Set the status and keep the transition; False when it was that already.

    Raises NotFound.
    """
    return _change_status(lock_device(device_id), status, reason=reason, now=now)


@transaction.atomic
def mark_alive(device_id: int, *, now: datetime) -> bool:
    """Bring an offline device online, because it gave a sign of life; False for any other."""
    device = find_device(device_id)
    if device is None or device.status != Device.Status.OFFLINE:
        return False
    is_known = StatusChange.objects.filter(device=device).exists()
    reason = "reports again" if is_known else "first sign of life"
    _see(device, now)
    return _change_status(device, Device.Status.ONLINE, reason=reason, now=now)


def note_seen(seen: Mapping[int, datetime]) -> None:
    """Keep when devices were last seen, in one transaction; never an earlier time than is kept.

    Nobody is told: this is no transition.
    """
    adapt = connection.ops.adapt_datetimefield_value
    rows = [(adapt(at), device_id, adapt(at)) for device_id, at in sorted(seen.items())]
    sql = (
        f"UPDATE {Device._meta.db_table} SET last_seen = %s"
        " WHERE id = %s AND (last_seen IS NULL OR last_seen < %s)"
    )
    # In the order of their keys: two processes that do this at once never wait for each other.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def find_silent(*, now: datetime, default_silence: timedelta) -> list[int]:
    """Return the devices whose silence is over what they are allowed, damping included.

    A status that somebody set counts as a sign of life: it lasts a whole silence.
    """
    last_sign = Greatest(Coalesce("last_seen", "status_since"), F("status_since"))
    second = Value(timedelta(seconds=1), output_field=DurationField())
    # Cast, because Django multiplies durations by plain integers only.
    own = ExpressionWrapper(
        Cast("silence_seconds", IntegerField()) * second, output_field=DurationField()
    )
    suspects = (
        Device.objects.filter(is_active=True)
        .exclude(status__in=_NOT_WATCHED)
        .annotate(last_sign=last_sign)
        .filter(
            Q(silence_seconds=None, last_sign__lte=now - default_silence)
            | Q(silence_seconds__isnull=False, last_sign__lte=Value(now) - own)
        )
    )
    found = list(suspects.only("silence_seconds", "last_seen", "status_since").order_by("id"))
    relapses = _relapses([device.pk for device in found], now)
    return [
        device.pk
        for device in found
        if _silence_of(device, now) >= _allowed(device, default_silence, relapses.get(device.pk, 0))
    ]


@transaction.atomic
def mark_silent(device_id: int, *, now: datetime, default_silence: timedelta) -> bool:
    """Set a device offline if it is still silent; False when it was heard or set meanwhile."""
    device = find_device(device_id)
    if device is None or device.status in _NOT_WATCHED:
        return False
    relapses = _relapses([device_id], now).get(device_id, 0)
    silence = _silence_of(device, now)
    if silence < _allowed(device, default_silence, relapses):
        return False
    reason = f"no sign of life for {int(silence.total_seconds())} s"
    return _change_status(device, Device.Status.OFFLINE, reason=reason, now=now)


def _silence_of(device: Device, now: datetime) -> timedelta:
    return now - max(device.last_seen or device.status_since, device.status_since)


def _allowed(device: Device, default_silence: timedelta, relapses: int) -> timedelta:
    own = device.silence_seconds
    silence = default_silence if own is None else timedelta(seconds=own)
    return silence * min(2**relapses, DAMPING_MAX)


def _relapses(device_ids: list[int], now: datetime) -> dict[int, int]:
    """Return how often each of these went offline lately."""
    lately = StatusChange.objects.filter(
        device_id__in=device_ids,
        new_status=Device.Status.OFFLINE,
        at__gt=now - FLAPPING_WINDOW,
    )
    # The model's order would make a group of each row.
    counted = lately.order_by().values("device_id").annotate(times=Count("id"))
    return dict(counted.values_list("device_id", "times"))


def _see(device: Device, now: datetime) -> None:
    if device.last_seen is None or device.last_seen < now:
        device.last_seen = now
        device.save(update_fields=["last_seen"])


def _change_status(device: Device, status: str, *, reason: str, now: datetime) -> bool:
    if device.status == status:
        return False
    StatusChange.objects.create(
        device=device, old_status=device.status, new_status=status, reason=reason, at=now
    )
    device.status, device.status_reason, device.status_since = status, reason, now
    device.save(update_fields=["status", "status_reason", "status_since"])
    return True
