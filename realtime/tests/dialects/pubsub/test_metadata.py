"""What a message's metadata may say, and what we check of it."""

import gzip
import random
import tracemalloc
import zlib
from base64 import b64encode
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from realtime.core.errors import Invalid
from realtime.dialects.pubsub import metadata as module
from realtime.dialects.pubsub.metadata import PLAIN, Carried, read_metadata, unpack
from realtime.dialects.pubsub.schema import Incoming
from realtime.tests.doubles import NOW


def read(given: Any, payload: Any = "hello") -> Carried:
    raw = msgspec.Raw(msgspec.json.encode(payload))
    return read_metadata(Incoming("Broadcast", metadata=given), raw, NOW)


def packed(content: bytes) -> str:
    return b64encode(gzip.compress(content)).decode()


def refusal(given: Any, payload: Any = "hello") -> Invalid:
    with pytest.raises(Invalid) as refused:
        read(given, payload)
    return refused.value


@pytest.mark.parametrize("given", [None, {}])
def test_without_metadata_a_message_is_plain(given: Any) -> None:
    assert read(given) == PLAIN


def test_the_document_s_example_is_carried_whole() -> None:
    example = {"priority": "high", "ttl": 3600, "encryption": "aes256", "compression": "gzip"}
    for payload in ({"message": "hello"}, "c2VjcmV0", "secret"):
        carried = read(example, payload)
        assert carried == Carried("high", NOW + timedelta(hours=1), example)


def test_other_keys_are_carried_as_they_are() -> None:
    given = {"trace": ["a", {"b": None}], "n": 1.5, "Ünï": True}
    assert read(given).metadata == given


# --- Priority and ttl ------------------------------------------------------------------------


@pytest.mark.parametrize("priority", ["low", "normal", "high"])
def test_a_priority_is_one_of_three(priority: str) -> None:
    assert read({"priority": priority}).priority == priority


@pytest.mark.parametrize("priority", ["urgent", "", "HIGH", 1, None, ["high"], {}])
def test_another_priority_is_refused(priority: Any) -> None:
    assert refusal({"priority": priority}).field == "metadata.priority"


def test_a_ttl_counts_from_now_in_seconds() -> None:
    assert read({"ttl": 0.5}).expires_at == NOW + timedelta(milliseconds=500)
    assert read({"ttl": module.TTL_SECONDS_MAX}).expires_at is not None


@pytest.mark.parametrize(
    "ttl", [0, -1, module.TTL_SECONDS_MAX + 1, 10**400, 1e308, "60", True, [], {}]
)
def test_another_ttl_is_refused(ttl: Any) -> None:
    assert refusal({"ttl": ttl}).field == "metadata.ttl"


# --- Bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["position", "recover_from", "message_id", "sent_at"])
def test_nobody_writes_the_server_s_own_keys(key: str) -> None:
    assert refusal({key: "e-1"}).field == f"metadata.{key}"


@pytest.mark.parametrize(
    "given",
    [
        {f"k{n}": n for n in range(module.KEYS_MAX + 1)},
        {"k" * (module.KEY_LENGTH + 1): 1},
        {"": 1},
        {"a\x00b": 1},
        {"a": "b\x00c"},
        {"a": "x" * module.METADATA_BYTES},
        {"a": "\ud800"},
    ],
)
def test_what_is_too_much_or_no_text_is_refused(given: Any) -> None:
    assert refusal(given).field.startswith("metadata")


def test_nesting_has_a_floor() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert "levels" in str(refusal({"deep": deep}))


# --- Compression -----------------------------------------------------------------------------


def test_a_gzip_is_looked_into_and_carried() -> None:
    given = {"compression": "gzip"}
    text = packed(b"some words, " * 20)
    assert read(given, text).metadata == given
    assert read(given, {"base64": text}).metadata == given


@pytest.mark.parametrize("payload", [{"message": "hello"}, {"base64": 5}, [1], 5, None, True])
def test_a_payload_that_is_no_text_was_not_compressed(payload: Any) -> None:
    assert read({"compression": "gzip"}, payload).metadata


@pytest.mark.parametrize("name", ["br", "GZIP", "", None, 1])
def test_another_compression_is_refused(name: Any) -> None:
    assert refusal({"compression": name}).field == "metadata.compression"


WHOLE = gzip.compress(random.Random(1).randbytes(2_000))


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "=",
        "✓",
        b64encode(b"no gzip").decode(),
        b64encode(zlib.compress(b"x" * 50)).decode(),
        b64encode(WHOLE[:-1]).decode(),
        b64encode(WHOLE[:-8] + bytes(8)).decode(),
        b64encode(WHOLE + b"x").decode(),
        b64encode(WHOLE + WHOLE).decode(),
        b64encode(WHOLE).decode() + "\n",
    ],
)
def test_what_is_not_one_whole_gzip_is_refused(text: str) -> None:
    problem = refusal({"compression": "gzip"}, text)
    assert (problem.field, "base64 of one whole gzip" in str(problem)) == ("data.payload", True)


def test_what_unpacks_to_more_than_a_mebibyte_is_refused() -> None:
    noise = random.Random(2).randbytes(module.UNPACKED_BYTES)
    assert unpack(gzip.compress(noise)) == "whole"
    assert unpack(gzip.compress(noise + b"x")) == "too much"


def test_what_unpacks_to_more_than_fifty_times_its_size_is_refused() -> None:
    assert unpack(gzip.compress(bytes(500_000))) == "too much"
    problem = refusal({"compression": "gzip"}, packed(bytes(500_000)))
    assert (problem.field, "50 times" in str(problem)) == ("data.payload", True)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    tracemalloc.start()
    try:
        assert unpack(bomb) == "too much"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_claiming_encryption_opens_no_door_for_a_bomb() -> None:
    given = {"compression": "gzip", "encryption": "aes256"}
    assert refusal(given, packed(bytes(500_000))).field == "data.payload"
