"""The surgery dialect's messages. Source: seed 000; imports `realtime.core` only."""

from math import isfinite
from uuid import UUID

import msgspec

from realtime.core.errors import BadData
from realtime.core.events import Event, SurgeryCompleted
from realtime.core.movement import Movement
from realtime.core.session import Gap

_decode = msgspec.json.Decoder(Movement).decode
_encode = msgspec.json.Encoder().encode


class Connected(msgspec.Struct, frozen=True, tag_field="status", tag="connected"):
    """The first message to an AI."""

    message: str = "IA conectada exitosamente"


class Saved(msgspec.Struct, frozen=True, tag_field="status", tag="SAVED", rename="camel"):
    """The answer to FINISH: everything is stored."""

    surgery_id: UUID


class NewSurgery(msgspec.Struct, frozen=True, tag_field="event", tag="NEW_SURGERY", rename="camel"):
    """An operation is complete and waits for its analysis."""

    surgery_id: UUID


CONNECTED = _encode(Connected())


def parse(text: str) -> Movement:
    """Return the frame. Raises BadData (1003) with a reason that names the field."""
    try:
        movement = _decode(text)
    except msgspec.ValidationError as error:
        raise BadData(f"bad frame: {error}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise BadData("bad frame: not JSON") from None
    if not all(map(isfinite, movement.coordinates)):
        raise BadData("bad frame: coordinates must be finite - at `$.coordinates`")
    return movement


def saved(surgery_id: UUID) -> bytes:
    """Return the answer to FINISH, to the byte; the space after the comma is the original's."""
    return _encode(Saved(surgery_id)).replace(b",", b", ", 1)


def new_surgery(surgery_id: UUID) -> bytes:
    """Return the notification of one completed operation."""
    return _encode(NewSurgery(surgery_id))


class SurgeryDialect:
    """Its clients hear of one thing: an operation is complete."""

    name = "surgery"
    overtakes = False

    def render(
        self, event: Event, position: str | None, *, recover_from: str | None = None
    ) -> bytes | None:
        if isinstance(event, SurgeryCompleted):
            return new_surgery(event.surgery_id)
        return None

    def is_binary(self, event: Event) -> bool:
        return False

    def render_gap(self, gap: Gap) -> bytes | None:
        """Live events never reach these clients, so none is ever missed."""
        return None
