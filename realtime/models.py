"""Rows of the conversation layer: the journal, and the processes that are alive."""

from django.conf import settings
from django.db import models


class JournalHead(models.Model):
    """The one row whose lock serialises numbering. `epoch` changes when history was restored."""

    SINGLETON = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON)
    epoch = models.CharField(max_length=16)
    position = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = "journal head"

    def __str__(self) -> str:
        return f"{self.epoch}-{self.position}"


class JournalEntry(models.Model):
    """One durable event. `position` is empty until its transaction has committed."""

    position = models.BigIntegerField(null=True, unique=True, editable=False)
    event_id = models.CharField(max_length=64, unique=True)
    topic = models.CharField(max_length=255)
    kind = models.CharField(max_length=64)
    payload = models.BinaryField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "journal entries"
        ordering = ("-position",)
        indexes = (
            # The numberer asks for these alone, many times a second; there are next to none.
            models.Index(
                fields=["id"], name="journal_unnumbered", condition=models.Q(position=None)
            ),
            models.Index(fields=["topic", "position"], name="journal_by_topic"),
        )

    def __str__(self) -> str:
        return f"{self.position}: {self.kind} on {self.topic}"


class Node(models.Model):
    """One process that serves. Dead when its heartbeat is older than `nodes.DEAD_AFTER`."""

    id = models.CharField(primary_key=True, max_length=36)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField(db_index=True)
    connections = models.JSONField(default=dict)
    # Figures since it started, by name: see `nodes.Statistics`.
    statistics = models.JSONField(default=dict)

    class Meta:
        verbose_name = "process"
        verbose_name_plural = "processes"
        ordering = ("started_at",)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class PastStatistics(models.Model):
    """The one row with the figures of all processes that have ended: see `nodes.Statistics`."""

    SINGLETON = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON)
    figures = models.JSONField(default=dict)

    def __str__(self) -> str:
        return "all that ended"


class Lease(models.Model):
    """A duty that one process of many has at a time, until `expires_at`."""

    name = models.CharField(primary_key=True, max_length=64)
    node_id = models.CharField(max_length=36)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} of {self.node_id}"


class RefusedAttempt(models.Model):
    """A connection that was refused or cut, and why; the oldest are deleted."""

    at = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=40)
    detail = models.CharField(max_length=200, blank=True)
    # A name rather than a key: the account may not exist.
    username = models.CharField(max_length=150, blank=True)
    address = models.CharField(max_length=64, blank=True)
    endpoint = models.CharField(max_length=40)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.reason} on {self.endpoint}"


class ErrorReport(models.Model):
    """What a client could not process, as it told us; the oldest are deleted."""

    at = models.DateTimeField(db_index=True)
    username = models.CharField(max_length=150)
    address = models.CharField(max_length=64, blank=True)
    error = models.CharField(max_length=500)
    message = models.TextField(blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.error


class MessageWatch(models.Model):
    """Whose messages are logged (never their content): one user's, or one connection's."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    connection_id = models.CharField(max_length=64, blank=True)
    until = models.DateTimeField(help_text="It ends by itself.")

    class Meta:
        verbose_name = "message log"
        ordering = ("-until",)

    def __str__(self) -> str:
        return str(self.user or self.connection_id)
