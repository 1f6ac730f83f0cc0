"""One frame, one row: how a plain consumer keeps a trajectory."""

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
