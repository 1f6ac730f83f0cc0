"""The surgery dialect's messages. Source: seed 000; imports `realtime.core` only."""

from math import isfinite
from uuid import UUID

import msgspec

from realtime.core.errors import BadData
from realtime.core.events import Event, SurgeryCompleted
from realtime.core.movement import Movement
from realtime.core.session import Gap

CONNECTED = b'{"status":"connected","message":"IA conectada exitosamente"}'


_decode = msgspec.json.Decoder(Movement).decode


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
    return f'{{"status":"SAVED", "surgeryId":"{surgery_id}"}}'.encode()


def new_surgery(surgery_id: UUID) -> bytes:
    """Return the notification of one completed operation."""
    return f'{{"event":"NEW_SURGERY","surgeryId":"{surgery_id}"}}'.encode()


class SurgeryDialect:
    """Its clients hear of one thing: an operation is complete."""

    name = "surgery"

    def render(self, event: Event, position: str | None) -> bytes | None:
        if isinstance(event, SurgeryCompleted):
            return new_surgery(event.surgery_id)
        return None

    def render_gap(self, gap: Gap) -> bytes | None:
        """Live events never reach these clients, so none is ever missed."""
        return None
