"""An operation and the chunks of its trajectory. Written by services and the writer only."""

import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from django.conf import settings
from django.db import models, transaction


class Remembered(NamedTuple):
    """What the database said of an operation: transitions are told against this."""

    status: str
    claimed: int
    score: float | None
    feedback: str | None


class Surgery(models.Model):
    """One operation, from its first frame on.

    `claimed` counts who asked to record it; `recording` is the claim that was granted last, and
    shuts out the ones before. `node` names the process that records now ('' for nobody).
    `movements` is set when a recording ends, `digest` when the operation does.
    """

    class Status(models.TextChoices):
        IN_PROGRESS = "in_progress", "in progress"
        COMPLETED = "completed", "completed"
        INTERRUPTED = "interrupted", "interrupted"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    surgeon = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="surgeries"
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.IN_PROGRESS)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    duration_seconds = models.PositiveBigIntegerField(null=True, blank=True)
    movements = models.PositiveBigIntegerField(default=0)
    recording = models.PositiveIntegerField(default=1)
    claimed = models.PositiveIntegerField(default=1)
    node = models.CharField(max_length=36, blank=True)
    disconnected_at = models.DateTimeField(null=True, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    score = models.FloatField(null=True, blank=True)
    # Null until there is an analysis, as on the wire; an empty text would be an analysis.
    feedback = models.TextField(null=True, blank=True)  # noqa: DJ001
    analysed_at = models.DateTimeField(null=True, blank=True)
    notes = models.TextField(blank=True, help_text="For administrators; never sent to clients.")

    remembered: Remembered | None = None

    class Meta:
        verbose_name_plural = "surgeries"
        ordering = ("-started_at", "id")
        indexes = (
            models.Index(fields=["-started_at", "id"], name="surgery_by_start"),
            models.Index(fields=["status", "-started_at"], name="surgery_by_status"),
            models.Index(fields=["surgeon", "-started_at"], name="surgery_by_surgeon"),
        )

    def __str__(self) -> str:
        return str(self.id)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and announce in the same transaction: who cannot be told undoes the change."""
        with transaction.atomic(savepoint=False):
            super().save(*args, **kwargs)

    @classmethod
    def from_db(cls, db: str | None, field_names: Iterable[str], values: Iterable[Any]) -> Self:
        surgery = super().from_db(db, field_names, values)
        surgery.remember()
        return surgery

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        self.remember()

    def remember(self) -> None:
        """Take what this object holds for what the database holds; None for what is deferred."""
        loaded = (self.__dict__.get(name) for name in Remembered._fields)
        self.remembered = Remembered(*loaded)


class TrajectoryChunk(models.Model):
    """Some consecutive movements, appended once and never changed.

    `payload` is their JSON array in arrival order, `first` counts the movements before them,
    `digest` chains them to every chunk before: see `devices/trajectory.py`.
    """

    surgery = models.ForeignKey(
        Surgery, on_delete=models.CASCADE, related_name="chunks", db_index=False
    )
    seq = models.PositiveIntegerField()
    first = models.PositiveBigIntegerField()
    count = models.PositiveIntegerField()
    payload = models.BinaryField()
    received_at = models.DateTimeField()
    digest = models.CharField(max_length=64)

    class Meta:
        verbose_name = "trajectory chunk"
        ordering = ("surgery", "seq")
        constraints = (
            models.UniqueConstraint(fields=["surgery", "seq"], name="one_chunk_per_number"),
        )

    def __str__(self) -> str:
        return f"{self.surgery_id} chunk {self.seq}"
