"""Who is present, decided: from what each connection says to what is told of its user.

Imports the standard library, msgspec and `realtime.core` only.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from realtime.core.errors import Invalid
from realtime.core.events.messages import Presence

METADATA_BYTES = 1024

# The most present first.
_RANKS: dict[Presence, int] = {"online": 0, "away": 1, "offline": 2}

_encode = msgspec.json.Encoder().encode


class Voice(msgspec.Struct, frozen=True):
    """What one connection says of its user, or one process, or all of them together.

    `given_at` is when `metadata` was given; None: nobody gave any.
    """

    status: Presence = "online"
    metadata: dict[str, Any] = {}
    given_at: datetime | None = None

    @property
    def is_present(self) -> bool:
        return self.status != "offline"


SILENCE = Voice("offline")


def together(voices: Iterable[Voice]) -> Voice:
    """Return what they say as one: the most present status, the metadata given last.

    Who is in front of one screen is online, whatever the other screens say. Nobody says
    anything of who is offline.
    """
    status: Presence = "offline"
    latest: Voice | None = None
    for voice in voices:
        if _RANKS[voice.status] < _RANKS[status]:
            status = voice.status
        if voice.given_at is not None and (
            latest is None or latest.given_at is None or voice.given_at >= latest.given_at
        ):
            latest = voice
    if status == "offline":
        return SILENCE
    if latest is None:
        return Voice(status)
    return Voice(status, latest.metadata, latest.given_at)


def check_metadata(metadata: dict[str, Any], *, field: str) -> dict[str, Any]:
    """Return `metadata` when it is small enough to be told to many. Raises Invalid."""
    size = len(_encode(metadata))
    if size > METADATA_BYTES:
        raise Invalid(f"metadata has at most {METADATA_BYTES} bytes of JSON", field=field)
    return metadata


def read_metadata(text: str, *, field: str) -> dict[str, Any]:
    """Return the metadata that a query gives as a JSON object. Raises Invalid."""
    try:
        metadata: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise Invalid("metadata is a JSON object", field=field) from None
    return check_metadata(metadata, field=field)
