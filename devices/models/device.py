"""A device, the states it went through, and the commands it was given."""

from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.utils import timezone

from accounts.models import Remembering


class Device(Remembering):
    """Something that measures. `id` is its number on the wire, `external_id` its maker's.

    Its state is written by `devices/services/devices.py` only, its configuration by forms.
    `account` is the ROLE_DEVICE user it signs in as. Taken out of service it is kept, inactive.
    """

    watched: ClassVar[tuple[str, ...]] = (
        "name",
        "device_type",
        "is_active",
        "account_id",
        "silence_seconds",
        "status",
    )

    class Status(models.TextChoices):
        ONLINE = "online", "online"
        OFFLINE = "offline", "offline"
        WARNING = "warning", "warning"
        ERROR = "error", "error"
        MAINTENANCE = "maintenance", "maintenance"

    name = models.CharField(max_length=100)
    external_id = models.CharField(
        "device id", max_length=100, help_text="Its maker's or your own name for it."
    )
    device_type = models.CharField(max_length=50, db_index=True)
    manufacturer = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=100, blank=True)
    firmware_version = models.CharField(max_length=50, blank=True)
    location = models.CharField(max_length=200, blank=True)
    account = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="device",
        help_text="The account it signs in with; “Issue device token” makes one.",
    )
    silence_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Silent for so long it counts as offline; empty for the server's default.",
    )
    metadata = models.JSONField(default=dict, blank=True)
    configuration = models.JSONField(default=dict, blank=True)
    is_active = models.BooleanField("in service", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # When its configuration was; its state has times of its own.
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    status = models.CharField(
        max_length=20, choices=Status, default=Status.OFFLINE, editable=False, db_index=True
    )
    status_reason = models.CharField(max_length=200, blank=True, editable=False)
    status_since = models.DateTimeField(default=timezone.now, editable=False)
    last_seen = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=["external_id"],
                condition=models.Q(is_active=True),
                name="one_device_in_service_per_external_id",
                violation_error_message="A device with this id is in service already.",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: object) -> None:
        """Save, and announce in the same transaction: who cannot be told undoes the change."""
        with transaction.atomic(savepoint=False):
            super().save(**kwargs)


class StatusChange(models.Model):
    """One transition of a device, kept for its history and to damp what flaps."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="status_changes")
    old_status = models.CharField(max_length=20)
    new_status = models.CharField(max_length=20)
    reason = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ("-at", "-id")
        indexes = (models.Index(fields=["device", "-at"], name="status_change_by_device"),)

    def __str__(self) -> str:
        return f"{self.device_id}: {self.old_status} → {self.new_status}"


class Command(Remembering):
    """Something a device shall do: delivered once, when it is connected, unless it expired."""

    watched: ClassVar[tuple[str, ...]] = ("status",)

    class Status(models.TextChoices):
        PENDING = "pending", "waiting for the device"
        SENT = "sent", "sent"
        EXECUTED = "executed", "executed"
        FAILED = "failed", "failed"
        EXPIRED = "expired", "expired"

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="commands")
    command = models.CharField(max_length=200)
    parameters = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.PENDING, editable=False)
    result = models.JSONField(default=dict, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    sent_at = models.DateTimeField(null=True, editable=False)
    # When it was executed, or failed, or expired.
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index(fields=["device", "status"], name="command_by_device"),)

    def __str__(self) -> str:
        return f"{self.command} for {self.device_id}"

    def save(self, **kwargs: object) -> None:
        """Save, and announce in the same transaction."""
        with transaction.atomic(savepoint=False):
            super().save(**kwargs)
