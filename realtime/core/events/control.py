"""What only our own processes hear: look again at something that changed in the database."""

from uuid import UUID

from realtime.core.events.base import CONTROL, Event


class RecordingClaimed(Event, frozen=True, kw_only=True):
    """Control: another socket takes over this operation; whoever records it lets go."""

    surgery_id: UUID
    recording: int

    @property
    def topic(self) -> str:
        return f"{CONTROL}.recordings"


class AccessChanged(Event, frozen=True, kw_only=True):
    """Control: look again at who is connected. One of the three says whom it concerns."""

    user_id: UUID | None = None
    role: str | None = None
    token_id: str | None = None

    @property
    def topic(self) -> str:
        return f"{CONTROL}.access"


class DevicesChanged(Event, frozen=True, kw_only=True):
    """Control: a device was added, edited, bound to an account or taken out of service."""

    device_id: int

    @property
    def topic(self) -> str:
        return f"{CONTROL}.devices"


class RulesChanged(Event, frozen=True, kw_only=True):
    """Control: an alert rule was added, edited or deleted."""

    rule_id: int

    @property
    def topic(self) -> str:
        return f"{CONTROL}.rules"


class MessageWatchChanged(Event, frozen=True, kw_only=True):
    """Control: somebody's messages are to be logged, or no longer."""

    @property
    def topic(self) -> str:
        return f"{CONTROL}.messages"


class ConnectionEnded(Event, frozen=True, kw_only=True):
    """Control: an operator ends one connection, or all of a user's."""

    connection_id: str | None = None
    user_id: UUID | None = None
    by: str

    @property
    def topic(self) -> str:
        return f"{CONTROL}.connections"


class Forgotten(Event, frozen=True, kw_only=True):
    """Stands in the journal where a message was kept no longer than its sender wished."""

    @property
    def topic(self) -> str:
        return f"{CONTROL}.forgotten"
