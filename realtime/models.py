"""Rows of the conversation layer: the journal, the processes that are alive, stored files."""

from typing import Any

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
    # After that it is neither told nor kept; most are kept as long as the journal keeps anything.
    expires_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name_plural = "journal entries"
        ordering = ("-position",)
        indexes = (
            # The numberer asks for these alone, many times a second; there are next to none.
            models.Index(
                fields=["id"], name="journal_unnumbered", condition=models.Q(position=None)
            ),
            models.Index(fields=["topic", "position"], name="journal_by_topic"),
            models.Index(
                fields=["expires_at"],
                name="journal_by_expiry",
                condition=models.Q(expires_at__isnull=False),
            ),
        )
        permissions = (("read_private", "Can read what people tell each other in private"),)

    def __str__(self) -> str:
        return f"{self.position}: {self.kind} on {self.topic}"


class Publication(models.Model):
    """That a message was taken, for whoever sends it again: see `publisher`.

    `key` stands for user, client and the client's own name for the message; `answer` is what
    the first one was told, once that is known.
    """

    key = models.CharField(primary_key=True, max_length=64)
    event_id = models.CharField(max_length=64)
    position = models.BigIntegerField()
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.event_id


class QueuedMessage(models.Model):
    """A direct message or notification that its user has not been told yet: see `mailbox`.

    The event itself stands in the journal.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="queued_messages"
    )
    event_id = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=["user", "event_id"], name="queued_once_for_a_user"),
        )

    def __str__(self) -> str:
        return self.event_id


class Notification(JournalEntry):
    """What the system told people: the journal's entries of that kind."""

    class Meta:
        proxy = True
        default_permissions = ("add", "view")
        ordering = ("-position",)

    def __str__(self) -> str:
        return f"Notification on {self.topic}"


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


class Connection(Node):
    """One connection, as the roll call of all processes tells it: never a row.

    `id` is the connection's, `line` what its process tells of it.
    """

    line: Any = None

    class Meta:
        proxy = True
        default_permissions = ("view",)
        permissions = (("end_connection", "Can end connections"),)

    def __str__(self) -> str:
        if self.line is None:
            return self.id
        return f"{self.line.username} on {self.line.endpoint} from {self.line.address}"


class PastStatistics(models.Model):
    """The one row with the figures of all processes that have ended: see `nodes.Statistics`."""

    SINGLETON = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON)
    figures = models.JSONField(default=dict)

    def __str__(self) -> str:
        return "all that ended"


class PresenceStatus(models.TextChoices):
    """How present somebody is."""

    ONLINE = "online"
    AWAY = "away"
    OFFLINE = "offline"


class UserPresence(models.Model):
    """How present a user is, over all processes, as it was told last.

    No key to the account: what was told of a user has to be taken back when the account is gone.
    `metadata` is JSON as text: PostgreSQL's own type refuses some of it (`"\\u0000"`).
    """

    user_id = models.UUIDField(primary_key=True)
    username = models.CharField(max_length=150, db_index=True)
    status = models.CharField(
        max_length=8, choices=PresenceStatus, default=PresenceStatus.OFFLINE, db_index=True
    )
    metadata = models.TextField(default="{}")
    last_seen = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name = "presence"
        verbose_name_plural = "presences"
        ordering = ("username",)

    def __str__(self) -> str:
        return f"{self.username}: {self.status}"


class NodePresence(models.Model):
    """That a user has connections to a process, and what these say of them.

    `seen_at` is when the process wrote it, or ended in order.
    """

    user_id = models.UUIDField()
    node_id = models.CharField(max_length=36, db_index=True)
    status = models.CharField(max_length=8, choices=PresenceStatus)
    metadata = models.TextField(default="{}")
    given_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["user_id", "node_id"], name="one_presence_a_process"),
        )

    def __str__(self) -> str:
        return f"{self.user_id} at {self.node_id}"


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


class FileArea(models.Model):
    """Where files of one kind of owner lie; its row is locked while they change.

    `key` is "user:<uuid>", "session:<id>" or "public": see `realtime.files`.
    """

    key = models.CharField(primary_key=True, max_length=160)
    # Whose private area it is; None for the others.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )

    class Meta:
        verbose_name = "file area"

    def __str__(self) -> str:
        return str(self.owner or self.key)


class StoredFile(models.Model):
    """One file of an area. Its content lies in the storage, under a name that says nothing."""

    area = models.ForeignKey(FileArea, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    # Where the content lies in the storage `files`.
    content = models.CharField(max_length=100, unique=True, editable=False)
    size = models.BigIntegerField()
    # By content, whatever the sender or the name claims.
    mime = models.CharField("type", max_length=100)
    sha256 = models.CharField("SHA-256", max_length=64)
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = "stored file"
        ordering = ("area", "name")
        permissions = (("download_storedfile", "Can download stored file"),)
        constraints = (
            models.UniqueConstraint(fields=("area", "name"), name="file_named_once_in_its_area"),
        )

    def __str__(self) -> str:
        return self.name


class LooseContent(models.Model):
    """Content in the storage that no file has yet, or has no more: it is to be deleted."""

    content = models.CharField(primary_key=True, max_length=100)
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.content
