"""Alert rules, and the alerts that they, people and the system raise."""

from math import isfinite
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from accounts.models import Remembering
from devices.models.device import Device


class Severity(models.TextChoices):
    CRITICAL = "critical", "critical"
    WARNING = "warning", "warning"
    INFO = "info", "info"


_DURATIONS = ("raise_after_seconds", "clear_after_seconds")


class AlertRule(models.Model):
    """When to raise an alert by itself: for one device, for a type of devices, or for all."""

    class Condition(models.TextChoices):
        GT = "gt", "above"
        GTE = "gte", "at or above"
        LT = "lt", "below"
        LTE = "lte", "at or below"
        EQ = "eq", "equal to"
        NE = "ne", "other than"
        ABSENT = "absent", "absent for seconds"

    name = models.CharField(max_length=100)
    description = models.TextField(max_length=1000, blank=True)
    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, null=True, blank=True, related_name="rules"
    )
    device_type = models.CharField(
        max_length=50, blank=True, help_text="Used when no device is chosen; empty for all types."
    )
    metric = models.CharField(max_length=100)
    condition = models.CharField(max_length=10, choices=Condition)
    threshold = models.FloatField(help_text="For “absent”: the seconds without a reading.")
    clear_threshold = models.FloatField(
        null=True,
        blank=True,
        help_text="The value has to come back past this one to clear; empty for the threshold.",
    )
    raise_after_seconds = models.FloatField(
        default=0, help_text="The condition has to hold for so long before an alert is raised."
    )
    clear_after_seconds = models.FloatField(
        default=0, help_text="It has to be gone for so long before the alert is resolved."
    )
    cooldown_seconds = models.PositiveIntegerField(
        default=1800, help_text="No new alert of this rule and device for so long after the last."
    )
    severity = models.CharField(max_length=20, choices=Severity, default=Severity.WARNING)
    resolves_itself = models.BooleanField(
        default=True, help_text="Resolve the alert when the condition is gone."
    )
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: object) -> None:
        """Save, and announce in the same transaction."""
        with transaction.atomic(savepoint=False):
            super().save(**kwargs)

    def clean(self) -> None:
        self._check_numbers()
        if self.condition == self.Condition.ABSENT and (self.threshold or 0) <= 0:
            raise ValidationError({"threshold": "Say after how many seconds it counts as absent."})
        if self.clear_threshold is None or self.threshold is None:
            return
        rises = self.condition in (self.Condition.GT, self.Condition.GTE)
        falls = self.condition in (self.Condition.LT, self.Condition.LTE)
        if not rises and not falls:
            raise ValidationError({"clear_threshold": "It belongs to above and below only."})
        if (rises and self.clear_threshold > self.threshold) or (
            falls and self.clear_threshold < self.threshold
        ):
            raise ValidationError(
                {"clear_threshold": "It lies on the side where the value is good again."}
            )

    def _check_numbers(self) -> None:
        """A form refuses what is no number, an import or a REST body may hold it."""
        for name in ("threshold", "clear_threshold", *_DURATIONS):
            number = getattr(self, name)
            if number is None:
                continue
            if not isfinite(number):
                raise ValidationError({name: "Give a number."})
            if name in _DURATIONS and number < 0:
                raise ValidationError({name: "Time does not run backwards."})


class Alert(Remembering):
    """Something that somebody should look at: active, then acknowledged, then resolved.

    `device` is empty for an alert about this system. Written by services only.
    """

    watched: ClassVar[tuple[str, ...]] = ("status",)

    class Status(models.TextChoices):
        ACTIVE = "active", "active"
        ACKNOWLEDGED = "acknowledged", "acknowledged"
        RESOLVED = "resolved", "resolved"

    class Type(models.TextChoices):
        THRESHOLD = "threshold", "threshold"
        ANOMALY = "anomaly", "anomaly"
        DEVICE = "device", "device"
        SYSTEM = "system", "system"
        MANUAL = "manual", "manual"

    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, null=True, blank=True, related_name="alerts"
    )
    rule = models.ForeignKey(
        AlertRule, on_delete=models.SET_NULL, null=True, blank=True, related_name="alerts"
    )
    title = models.CharField(max_length=200)
    message = models.TextField(max_length=1000, blank=True)
    severity = models.CharField(max_length=20, choices=Severity)
    alert_type = models.CharField(max_length=50, choices=Type)
    status = models.CharField(max_length=20, choices=Status, default=Status.ACTIVE)
    metric = models.CharField(max_length=100, blank=True)
    threshold_value = models.FloatField(null=True, blank=True)
    actual_value = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    # Empty when the condition went away by itself.
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    note = models.TextField(max_length=1000, blank=True)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=["rule", "device"],
                condition=~models.Q(status="resolved"),
                name="one_open_alert_per_rule_and_device",
            ),
        )
        indexes = (
            models.Index(fields=["status", "-created_at"], name="alert_by_status"),
            models.Index(fields=["device", "-created_at"], name="alert_by_device"),
            models.Index(fields=["-created_at"], name="alert_by_time"),
        )

    def __str__(self) -> str:
        return self.title

    def save(self, **kwargs: object) -> None:
        """Save, and announce in the same transaction."""
        with transaction.atomic(savepoint=False):
            super().save(**kwargs)
