"""Movements and their chain, for anything a client may send. No database."""

from typing import get_args
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.trajectory import (
    Link,
    Movement,
    Proof,
    SurgeryAction,
    chain,
    decode_movements,
    encode_movements,
    genesis,
    prove,
)

SURGERY = UUID("550e8400-e29b-41d4-a716-446655440000")

numbers = st.floats(allow_nan=False, allow_infinity=False)
any_movement = st.builds(
    Movement,
    coordinates=st.lists(numbers, min_size=2, max_size=3),
    event=st.sampled_from(get_args(SurgeryAction)),
    timestamp=st.integers(min_value=1, max_value=2**63 - 1),
)
any_chunks = st.lists(st.lists(any_movement, min_size=1, max_size=4), max_size=6)


def links(parts: list[list[Movement]], surgery_id: UUID = SURGERY) -> list[Link]:
    """Chain these chunks as a recorder does."""
    made: list[Link] = []
    digest, first = genesis(surgery_id), 0
    for seq, part in enumerate(parts):
        payload = encode_movements(part)
        digest = chain(digest, seq, payload)
        made.append(Link(seq, first, len(part), payload, digest.hex()))
        first += len(part)
    return made


@given(st.lists(any_movement))
def test_what_is_decoded_is_what_was_encoded(movements: list[Movement]) -> None:
    assert decode_movements(encode_movements(movements)) == movements


@given(any_chunks)
def test_an_untouched_chain_holds(parts: list[list[Movement]]) -> None:
    proof = prove(SURGERY, links(parts))
    assert proof.holds
    assert (proof.chunks, proof.movements) == (len(parts), sum(map(len, parts)))


@given(any_chunks.filter(bool), st.data())
def test_the_first_changed_chunk_is_named(parts: list[list[Movement]], data: st.DataObject) -> None:
    chained = links(parts)
    bad = data.draw(st.integers(0, len(chained) - 1))
    other = data.draw(st.lists(any_movement, min_size=1).filter(lambda p: p != parts[bad]))
    payload = encode_movements(other)
    chained[bad] = msgspec.structs.replace(chained[bad], payload=payload)
    proof = prove(SURGERY, chained)
    assert (proof.bad_chunk, proof.chunks) == (bad, bad)
    assert "changed" in proof.problem


@given(any_chunks.filter(lambda parts: len(parts) > 1), st.data())
def test_a_missing_chunk_is_named(parts: list[list[Movement]], data: st.DataObject) -> None:
    chained = links(parts)
    # What is cut off at the end leaves a chain that holds: the operation's row tells of it.
    gone = data.draw(st.integers(0, len(chained) - 2))
    del chained[gone]
    proof = prove(SURGERY, chained)
    assert proof.bad_chunk == gone
    assert f"chunk {gone} is missing" in proof.problem


@given(any_chunks.filter(bool))
def test_chunks_cannot_be_moved_to_another_operation(parts: list[list[Movement]]) -> None:
    assert prove(uuid4(), links(parts)).bad_chunk == 0


def test_an_operation_without_chunks_holds() -> None:
    assert prove(SURGERY, []) == Proof(0, 0, genesis(SURGERY).hex())


def test_counts_that_do_not_match_the_movements_are_found() -> None:
    parts = [[Movement([1, 2], "NONE", 1)], [Movement([1, 2], "NONE", 2)]]
    honest = links(parts)
    for changes, words in (({"count": 2}, "holds 2"), ({"first": 7}, "7 movements came before")):
        lying = [honest[0], msgspec.structs.replace(honest[1], **changes)]
        proof = prove(SURGERY, lying)
        assert (proof.bad_chunk, proof.movements) == (1, 1)
        assert words in proof.problem


@pytest.mark.parametrize("payload", [b"not json", b"{}", b"[1]", b"[" * 100_000, b"[]"])
def test_a_chunk_that_was_no_trajectory_from_the_start_is_found(payload: bytes) -> None:
    digest = chain(genesis(SURGERY), 0, payload).hex()
    assert prove(SURGERY, [Link(0, 0, 1, payload, digest)]).bad_chunk == 0


def test_the_chain_is_what_the_documentation_says() -> None:
    """Anybody can check an export: these numbers must never change."""
    assert genesis(SURGERY).hex() == (
        "ed3975ff5dc011a43d8eb785948feda2e052e1c80a8795d39512055729821292"
    )
    payload = b'[{"coordinates":[0.0,0.0,0.0],"event":"START","timestamp":1710523456789}]'
    assert chain(genesis(SURGERY), 0, payload).hex() == (
        "d31029e65fa03836edbd91e3a5148a2b550dcbc4f252d1914d69c44adffba19e"
    )
    assert encode_movements([Movement([0.0, 0.0, 0.0], "START", 1_710_523_456_789)]) == payload


@pytest.mark.parametrize(
    "frame",
    [
        '{"coordinates":[1],"event":"NONE","timestamp":1}',
        '{"coordinates":[1,2,3,4],"event":"NONE","timestamp":1}',
        '{"coordinates":[1e999,2],"event":"NONE","timestamp":1}',
        '{"coordinates":[NaN,2],"event":"NONE","timestamp":1}',
        '{"coordinates":["1",2],"event":"NONE","timestamp":1}',
        '{"coordinates":[1,2],"event":"MOVE","timestamp":1}',
        '{"coordinates":[1,2],"event":"none","timestamp":1}',
        '{"coordinates":[1,2],"event":"NONE","timestamp":0}',
        '{"coordinates":[1,2],"event":"NONE","timestamp":1.5}',
        '{"coordinates":[1,2],"event":"NONE","timestamp":true}',
        '{"coordinates":[1,2],"event":"NONE","timestamp":9223372036854775808}',
        '{"coordinates":[1,2],"event":"NONE"}',
    ],
)
def test_what_is_no_movement_is_not_decoded(frame: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_movements(f"[{frame}]".encode())
