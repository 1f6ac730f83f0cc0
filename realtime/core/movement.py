"""One frame of an operation, as surgeons send it, the trajectory keeps it and REST serves it.

Source: seed 000, "Simulation Channel".
"""

from typing import Annotated, Literal

import msgspec

SurgeryAction = Literal[
    "NONE", "TUMOR_TOUCH", "HEMORRHAGE", "START", "FINISH", "TUMOR_REMOVAL", "KIDNEY_TOUCH"
]
FINISH: SurgeryAction = "FINISH"
# The upper bound is where the database's integers end.
Timestamp = Annotated[int, msgspec.Meta(gt=0, le=2**63 - 1)]
Coordinates = Annotated[list[float], msgspec.Meta(min_length=2, max_length=3)]


class Movement(msgspec.Struct, frozen=True):
    """Where the instrument was, what happened, when.

    Two or three finite scene units, and milliseconds since 1970 on the client's clock.
    """

    coordinates: Coordinates
    event: SurgeryAction
    timestamp: Timestamp


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[list[Movement]] = msgspec.json.Decoder(list[Movement])


def encode_movements(movements: list[Movement]) -> bytes:
    """Return the JSON array that is stored, hashed and served, in arrival order."""
    return _encoder.encode(movements)


def decode_movements(payload: bytes) -> list[Movement]:
    """Return the movements of a stored array. Raises msgspec.DecodeError for anything else."""
    return _decoder.decode(payload)
