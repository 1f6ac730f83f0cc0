"""What is agreed on, and packing and unpacking, against the websockets library and zlib itself."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidHeaderFormat
from websockets.headers import parse_extension

from realtime.core.deflate import (
    TAIL,
    THOROUGH_BYTES,
    Agreement,
    BadHeader,
    Corrupt,
    TooLong,
    Unpacking,
    agreement_on,
    packed,
    unpacked,
    window_for,
)

BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
KIB = 1024


def deflated(data: bytes, *, bits: int = 15, final: bool = False) -> bytes:
    """Return what a peer packs; with `final` its last block says that it is the last."""
    packer = zlib.compressobj(wbits=-bits)
    if final:
        return packer.compress(data) + packer.flush(zlib.Z_FINISH) + b"\x00"
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH).removesuffix(TAIL)


# --- What is agreed on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", BOTH),
        ("permessage-deflate; client_max_window_bits", BOTH),
        ("permessage-deflate; client_max_window_bits=8", BOTH),
        ('permessage-deflate;client_max_window_bits="1\\5"', BOTH),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", BOTH),
        ("permessage-deflate; server_max_window_bits=15", f"{BOTH}; server_max_window_bits=15"),
        ('permessage-deflate; server_max_window_bits="9"', f"{BOTH}; server_max_window_bits=9"),
        ("x-webkit-deflate-frame, permessage-deflate", BOTH),
        (", ,permessage-deflate ,", BOTH),
    ],
)
def test_an_offer_is_answered_without_context_takeover(offer: str, answer: str) -> None:
    agreement = agreement_on(offer)
    assert agreement is not None
    assert agreement.header == answer


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-bzip2",
        "Permessage-Deflate",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=012",
        "permessage-deflate; server_max_window_bits=ten",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
        # zlib cannot.
        "permessage-deflate; server_max_window_bits=8",
    ],
)
def test_an_offer_that_cannot_be_kept_is_declined(offer: str) -> None:
    assert agreement_on(offer) is None
    agreement = agreement_on(f"{offer}, permessage-deflate; server_max_window_bits=11")
    assert agreement == Agreement(11, is_asked=True)


@pytest.mark.parametrize(
    "header",
    [
        "",
        " , ,",
        ";",
        "permessage-deflate;",
        "permessage-deflate; =1",
        "permessage-deflate; server_max_window_bits=",
        'permessage-deflate; server_max_window_bits="',
        'permessage-deflate; server_max_window_bits=""',
        'permessage-deflate; server_max_window_bits="1 0"',
        "permessage-deflate permessage-deflate",
        "permessage-deflate; a = 1 2",
        "permessage-deflate\x00",
        "a" * 8_000 + "(",
        "a;b" * 8_000 + "(",
        "a" + " " * 8_000 + "b",
    ],
)
def test_a_malformed_header_is_none(header: str) -> None:
    with pytest.raises(BadHeader):
        agreement_on(header)


@given(st.text('ab;=," \t\\1', max_size=14))
def test_headers_are_read_as_the_websockets_library_reads_them(header: str) -> None:
    header = header.strip()
    try:
        theirs = parse_extension(header) != []
    except InvalidHeaderFormat:
        theirs = False
    try:
        agreement_on(header)
    except BadHeader:
        assert not theirs
    else:
        assert theirs


# --- Packing -------------------------------------------------------------------------------


@given(st.binary(max_size=2_000), st.integers(9, 15))
def test_what_is_packed_can_be_unpacked_with_the_window_that_was_agreed_on(
    payload: bytes, bits: int
) -> None:
    data = packed(payload * 40, window_for(len(payload) * 40, bits))
    reader = zlib.decompressobj(-bits)
    assert reader.decompress(data + TAIL) == payload * 40
    assert unpacked(data) == payload * 40


def test_nothing_is_packed_as_the_rfc_says() -> None:
    assert packed(b"", 9) == b"\x00"


def test_a_narrow_window_is_as_good_where_the_message_is_short() -> None:
    text = random.Random(1).randbytes(700) * 2
    narrow = window_for(len(text), 15)
    assert narrow < 15
    assert len(packed(text, narrow)) <= len(packed(text, 15)) < len(text)
    assert window_for(10**6, 15) == 15
    assert window_for(10**6, 10) == 10
    assert window_for(1, 15) == 9


def test_a_large_message_is_packed_too() -> None:
    text = b"0123456789" * THOROUGH_BYTES
    assert unpacked(packed(text, 15)) == text


# --- Unpacking -----------------------------------------------------------------------------


@given(st.binary(max_size=3_000), st.integers(1, 50), st.booleans())
def test_a_message_is_unpacked_whatever_parts_it_comes_in(
    payload: bytes, step: int, final: bool
) -> None:
    data = deflated(payload, final=final)
    message = Unpacking(len(payload))
    parts = [message.take(data[at : at + step]) for at in range(0, len(data), step)]
    message.end()
    assert b"".join(parts) == payload


@pytest.mark.parametrize("more", [1, 2, 100, 300, 10 * KIB * KIB])
@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_more_than_the_limit_is_refused_however_it_comes(more: int, step: int) -> None:
    data = deflated(b"x" * (8 * KIB + more))
    message = Unpacking(8 * KIB)
    unpacked_bytes = 0

    def take_all() -> None:
        nonlocal unpacked_bytes
        for at in range(0, len(data), step):
            unpacked_bytes += len(message.take(data[at : at + step]))
        message.end()

    with pytest.raises(TooLong):
        take_all()
    assert unpacked_bytes <= 8 * KIB


def test_a_message_at_the_limit_is_taken() -> None:
    message = Unpacking(8 * KIB)
    assert len(message.take(deflated(b"x" * 8 * KIB))) == 8 * KIB
    message.end()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xff\xff\xff", id="no block of any kind"),
        pytest.param(deflated(b"hello")[:-2], id="it breaks off"),
        pytest.param(b"\x00\x05\x00\xfa\xffab", id="a stored block breaks off"),
        pytest.param(deflated(b"hello", final=True) + b"more", id="more after the last block"),
        pytest.param(b"\x78\x9c" + zlib.compress(b"hello"), id="with a header"),
    ],
)
def test_what_nobody_packed_is_corrupt(data: bytes) -> None:
    message = Unpacking(8 * KIB)

    def take_all() -> None:
        message.take(data)
        message.end()

    with pytest.raises(Corrupt):
        take_all()


def test_a_reference_before_the_beginning_is_corrupt() -> None:
    packer = zlib.compressobj(wbits=-15)
    packer.compress(b"the same words")
    packer.flush(zlib.Z_SYNC_FLUSH)
    with_context = packer.compress(b"the same words") + packer.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(Corrupt):
        Unpacking(KIB).take(with_context.removesuffix(TAIL))
