"""What a trajectory is: movements, and the hash-chained chunks they are kept in. Pure."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from realtime.core.movement import (
    Movement,
    SurgeryAction,
    decode_movements,
    encode_movements,
)

__all__ = [
    "Chunk",
    "Link",
    "Movement",
    "Proof",
    "SurgeryAction",
    "chain",
    "decode_movements",
    "encode_movements",
    "genesis",
    "prove",
]


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """Some consecutive movements of one operation, on their way to the database.

    `recording` says who wrote them (a later one shuts out the earlier), `first` counts the
    movements before them, `payload` is their JSON array, `digest` what `chain` made of it.
    """

    surgery_id: UUID
    recording: int
    seq: int
    first: int
    count: int
    payload: bytes
    received_at: datetime
    digest: bytes


class Link(msgspec.Struct, frozen=True):
    """A stored chunk as the proof needs it."""

    seq: int
    first: int
    count: int
    payload: bytes
    digest: str


class Proof(msgspec.Struct, frozen=True):
    """What walking the chain found; `problem` is empty when all of it holds.

    `chunks`, `movements` and `digest` describe the part that holds, `bad_chunk` is the number
    of the first chunk that does not.
    """

    chunks: int
    movements: int
    digest: str
    problem: str = ""
    bad_chunk: int | None = None

    @property
    def holds(self) -> bool:
        return not self.problem


def genesis(surgery_id: UUID) -> bytes:
    """Return the digest before the first chunk: no two operations share a chain."""
    return hashlib.sha256(b"vitalwire trajectory" + surgery_id.bytes).digest()


def chain(previous: bytes, seq: int, payload: bytes) -> bytes:
    """Return the digest of chunk `seq`, which vouches for every chunk before it too."""
    return hashlib.sha256(previous + seq.to_bytes(8, "big") + payload).digest()


def prove(surgery_id: UUID, links: Iterable[Link]) -> Proof:
    """Walk the chunks in stored order and return how far the chain holds."""
    digest = genesis(surgery_id)
    seq = movements = 0
    for link in links:
        expected = chain(digest, link.seq, link.payload)
        problem = _problem_of(link, seq=seq, movements=movements, expected=expected.hex())
        if problem:
            # Where a chunk is missing, its own number is named, not that of the one after it.
            return Proof(seq, movements, digest.hex(), problem, bad_chunk=seq)
        digest = expected
        seq += 1
        movements += link.count
    return Proof(seq, movements, digest.hex())


def _problem_of(link: Link, *, seq: int, movements: int, expected: str) -> str:
    if link.seq != seq:
        return f"chunk {seq} is missing, chunk {link.seq} follows"
    if link.digest != expected:
        return f"chunk {seq} or its digest was changed"
    if link.first != movements:
        return f"chunk {seq} says {link.first} movements came before it, there are {movements}"
    try:
        count = len(decode_movements(link.payload))
    except (msgspec.DecodeError, RecursionError) as error:
        return f"chunk {seq} cannot be read: {error}"
    if count != link.count or not count:
        return f"chunk {seq} says it holds {link.count} movements, it holds {count}"
    return ""
