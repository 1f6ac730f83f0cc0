"""What every event is, and what it says of itself."""

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
    def audience(self) -> str | None:
        """The role that alone may hear of it; None where the topic decides."""
        return None

    @property
    def spared(self) -> str | None:
        """The session that alone does not hear it; None where everyone does."""
        return None

    @property
    def conflation_key(self) -> str:
        """Live events with the same key replace each other for a reader that lags."""
        return self.topic
