"""The frames that flooding surgeons send: an operation of plausible hands, one frame a line."""

from pathlib import Path

import msgspec

from realtime.client.motion import hands

STARTED_MS = 1_710_523_456_789


def write_script(folder: Path) -> Path:
    """Write a minute of movements and return the file."""
    path = folder / "script.jsonl"
    movements = hands(seed=1, seconds=60.0, started_ms=STARTED_MS)
    path.write_bytes(b"".join(msgspec.json.encode(m) + b"\n" for m in movements))
    return path
