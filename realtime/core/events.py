"""What happened, as typed structs: one class per kind of event.

A durable event goes through the journal and has a position; a live one may be conflated
and has none. The wire words of each dialect are in its `schema.py`, not here.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

CONTROL = "control"


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=True):
    """Something that happened. `id` is the same in every dialect and process."""

    durable: ClassVar[bool] = True

    id: str
    at: datetime

    @property
    def kind(self) -> str:
        return type(self).__name__

    @property
    def topic(self) -> str:
        raise NotImplementedError

    @property
    def owner(self) -> UUID | None:
        """The user whose thing this is about, for rights of the form `own:…`."""
        return None

    @property
    def conflation_key(self) -> str:
        """Live events with the same key replace each other for a reader that lags."""
        return self.topic


class SurgeryEvent(Event, frozen=True, kw_only=True):
    """Base of everything that happens to one operation."""

    surgery_id: UUID
    surgeon_id: UUID
    surgeon: str

    @property
    def topic(self) -> str:
        return f"surgeries.{self.surgery_id}"

    @property
    def owner(self) -> UUID:
        return self.surgeon_id


class SurgeryStarted(SurgeryEvent, frozen=True, kw_only=True):
    """The first frame of an operation arrived, or an interrupted one was reopened."""

    started_at: datetime
    resumed: bool = False


class SurgeryMoved(SurgeryEvent, frozen=True, kw_only=True):
    """A few frames of a running operation. `offset` counts the frames before them.

    `movements` is a JSON array of `{"coordinates","event","timestamp"}`, ready to send.
    """

    durable: ClassVar[bool] = False

    offset: int
    movements: msgspec.Raw


class SurgeryInterrupted(SurgeryEvent, frozen=True, kw_only=True):
    """The surgeon was gone for longer than the grace time."""

    movements: int


class SurgeryCompleted(SurgeryEvent, frozen=True, kw_only=True):
    """An operation is complete and stored."""

    ended_at: datetime
    duration_seconds: int
    movements: int

    @property
    def topic(self) -> str:
        return "surgeries.completed"


class SurgeryAnalysed(SurgeryEvent, frozen=True, kw_only=True):
    """The AI's score of an operation arrived."""

    score: float
    feedback: str


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


AnyEvent = (
    SurgeryStarted
    | SurgeryMoved
    | SurgeryInterrupted
    | SurgeryCompleted
    | SurgeryAnalysed
    | RecordingClaimed
    | AccessChanged
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """Return the event as the journal and the broker carry it: tagged JSON."""
    return _encoder.encode(event)


def decode(payload: bytes) -> AnyEvent:
    """Return the event. Raises msgspec.ValidationError for a kind this build does not know."""
    return _decoder.decode(payload)
