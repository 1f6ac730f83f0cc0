"""What happens to an operation."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from realtime.core.events.base import Event


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
