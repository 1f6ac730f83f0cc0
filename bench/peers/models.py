"""One frame or reading, one row: how a plain consumer keeps what it hears."""

from django.db import models


class Frame(models.Model):
    """A movement of one surgery, in the order of arrival."""

    surgery = models.UUIDField(db_index=True)
    coordinates = models.JSONField()
    event = models.CharField(max_length=20)
    timestamp = models.BigIntegerField()
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "peers"

    def __str__(self) -> str:
        return f"{self.event} of {self.surgery}"


class Reading(models.Model):
    """A value of one metric of a device."""

    device_id = models.BigIntegerField()
    metric = models.CharField(max_length=100)
    value = models.FloatField()
    unit = models.CharField(max_length=20)
    timestamp = models.DateTimeField()

    class Meta:
        app_label = "peers"
        indexes = (models.Index(fields=["device_id", "metric", "timestamp"]),)

    def __str__(self) -> str:
        return f"{self.metric} of {self.device_id}"
