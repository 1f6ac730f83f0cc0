"""Binary messages as bytes, both ways."""

import hashlib
import json
import struct

import pytest
from msgspec.structs import replace

from realtime.core.errors import Invalid
from realtime.core.events import Event
from realtime.dialects.pubsub.schema import (
    BinaryMessage,
    Kind,
    PubsubBinaryDialect,
    PubsubDialect,
    encode_binary,
    parse_binary,
    payload_of_content,
)
from realtime.tests.message_events import direct_message, published, stream_chunk

CONTENT = bytes(range(256))


def framed(payload: bytes, kind: int = 1, length: int | None = None) -> bytes:
    return struct.pack("!BI", kind, len(payload) if length is None else length) + payload


def addressed(address: bytes, content: bytes = CONTENT, length: int | None = None) -> bytes:
    return struct.pack("!H", len(address) if length is None else length) + address + content


# --- Reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
def test_a_message_is_read_by_its_header(kind: Kind) -> None:
    data = framed(addressed("käse.1".encode()), kind)
    message = parse_binary(data)
    assert message == BinaryMessage(kind, "käse.1", CONTENT)
    assert encode_binary(message) == data


def test_content_may_be_empty() -> None:
    assert parse_binary(framed(addressed(b"a", b""))).content == b""


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        (b"", "header", "has 0 bytes"),
        (b"\x01", "header", "has 1 bytes"),
        (b"\x01\x00\x00\x00", "header", "has 4 bytes"),
        (framed(b"", 0), "type", "0x00"),
        (framed(addressed(b"a"), 5), "type", "0x05"),
        (framed(addressed(b"a"), 0xFF), "type", "0xff"),
        (framed(b""), "address_length", "has 0 bytes"),
        (framed(b"\x00"), "address_length", "has 1 bytes"),
        (framed(addressed(b"a", b"xyz"), length=7), "length", "7 bytes of payload follow, but 6"),
        (framed(addressed(b"a", b"xyz"), length=5), "length", "5 bytes of payload follow, but 6"),
        (framed(addressed(b"a"), length=0), "length", "0 bytes"),
        (framed(addressed(b"a"), length=2**32 - 1), "length", "4294967295"),
        (framed(addressed(b"abc", b"", 4)), "address_length", "4 bytes, 3 are left"),
        (framed(addressed(b"", CONTENT, 65_535)), "address_length", "65535 bytes, 256 are"),
        (framed(addressed(b"")), "address", "empty"),
        (framed(addressed(b"\xff\xfe")), "address", "not UTF-8"),
        (framed(addressed("é".encode()[:1])), "address", "not UTF-8"),
        (framed(addressed(b"\xed\xa0\x80")), "address", "not UTF-8"),
    ],
)
def test_a_header_that_lies_is_refused_with_what_is_wrong(
    data: bytes, field: str, words: str
) -> None:
    with pytest.raises(Invalid, match=words) as refusal:
        parse_binary(data)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (1, "broadcast"),
        (2, "direct_message"),
        (3, "file_transfer"),
        (4, "stream_data"),
    ],
)
def test_the_answer_tells_size_and_checksum_of_the_content(kind: int, name: str) -> None:
    assert parse_binary(framed(addressed(b"a"), kind)).details == {
        "size": 256,
        "type": name,
        "checksum": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
    }


# --- Delivering ------------------------------------------------------------------------------

BINARY = PubsubBinaryDialect()


def as_binary(event: Event) -> BinaryMessage:
    payload = BINARY.render(event, "e-7", recover_from=None)
    assert payload is not None
    assert BINARY.is_binary(event)
    return parse_binary(payload)


def binary_broadcast() -> Event:
    event = published(to="chat.general", is_binary=True)
    return _with_content(event)


def binary_direct_message() -> Event:
    return _with_content(direct_message(sender="ana", to="bea"))


def _with_content(event: Event) -> Event:
    return replace(event, payload=payload_of_content(CONTENT), is_binary=True)


def test_who_takes_binary_gets_the_form_it_came_in() -> None:
    assert as_binary(binary_broadcast()) == BinaryMessage(Kind.BROADCAST, "chat.general", CONTENT)
    assert as_binary(stream_chunk(stream="camera", content=CONTENT)) == BinaryMessage(
        Kind.STREAM_DATA, "camera", CONTENT
    )


def test_the_address_of_a_direct_message_is_its_sender() -> None:
    assert as_binary(binary_direct_message()) == BinaryMessage(Kind.DIRECT_MESSAGE, "ana", CONTENT)


@pytest.mark.parametrize(
    "event",
    [binary_broadcast(), binary_direct_message(), stream_chunk(content=CONTENT)],
    ids=lambda event: event.kind,
)
def test_everyone_else_gets_base64(event: Event) -> None:
    dialect = PubsubDialect()
    assert not dialect.is_binary(event)
    payload = dialect.render(event, None)
    assert payload is not None
    data = json.loads(payload)["data"]
    assert data["payload"] == {"base64": json.loads(bytes(payload_of_content(CONTENT)))}
    assert data["from_user"] == "ana"


def test_what_came_as_text_stays_text_for_those_who_take_binary() -> None:
    event = published()
    assert not BINARY.is_binary(event)
    assert BINARY.render(event, "e-1") == PubsubDialect().render(event, "e-1")
