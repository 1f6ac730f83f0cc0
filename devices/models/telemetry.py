"""What devices measured: written by `devices/writer.py` in batches, never changed."""

from django.db import models

from devices.models.device import Device
from devices.models.fields import MomentField


class Series(models.Model):
    """One metric of one device: what its readings have in common. `unit` is the latest."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="series")
    metric = models.CharField(max_length=100)
    unit = models.CharField(max_length=20, blank=True)

    class Meta:
        verbose_name_plural = "series"
        ordering = ("device", "metric")
        constraints = (
            models.UniqueConstraint(fields=["device", "metric"], name="one_series_per_metric"),
        )

    def __str__(self) -> str:
        return f"{self.metric} of {self.device_id}"


class Reading(models.Model):
    """One value at one time.

    `at` is the device's clock, `received_at` ours; `is_skewed` says that the two cannot both be
    right. `message_id` is what the device called the message, if anything: it makes a message
    that was sent twice count once, whatever its times.
    """

    # Batches insert what the writer has checked: a check of the key for each row is saved.
    series = models.ForeignKey(
        Series,
        on_delete=models.CASCADE,
        related_name="readings",
        db_index=False,
        db_constraint=False,
    )
    at = MomentField()
    value = models.FloatField()
    unit = models.CharField(max_length=20, blank=True)
    received_at = MomentField()
    is_skewed = models.BooleanField(default=False)
    message_id = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=["series", "at"], name="one_reading_per_moment"),
            models.UniqueConstraint(
                fields=["series", "message_id"],
                condition=~models.Q(message_id=""),
                name="one_reading_per_message",
            ),
        )

    def __str__(self) -> str:
        return f"{self.value} {self.unit}".strip()


class Rollup(models.Model):
    """An hour of one series, kept when its readings are deleted."""

    series = models.ForeignKey(
        Series, on_delete=models.CASCADE, related_name="rollups", db_index=False
    )
    hour = MomentField(help_text="When the hour began.")
    count = models.PositiveIntegerField()
    mean = models.FloatField()
    low = models.FloatField()
    high = models.FloatField()

    class Meta:
        ordering = ("series", "hour")
        constraints = (
            models.UniqueConstraint(fields=["series", "hour"], name="one_rollup_per_hour"),
        )

    def __str__(self) -> str:
        return f"{self.series_id} at {self.hour}"
