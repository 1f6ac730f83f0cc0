"""What content is, told by its bytes alone."""

import zipfile
from io import BytesIO

import pytest

from realtime.core.mime import LOOKED_AT, TEXT, UNKNOWN, mime_of


def zipped() -> bytes:
    into = BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("a.txt", "a")
    return into.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"RIFF\x24\x00\x00\x00????", UNKNOWN),
        (b"%PDF-1.7\n", "application/pdf"),
        (zipped(), "application/zip"),
        (b"\x1f\x8b\x08\x00", "application/gzip"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (bytes(128) + b"DICM", "application/dicom"),
        (b"\x7fELF\x02\x01\x01", UNKNOWN),
        (b"MZ\x90\x00", UNKNOWN),
        (bytes(64), UNKNOWN),
        (b"", UNKNOWN),
        ("ünïcode\r\n\t✓".encode(), TEXT),
        ("ünïcode".encode("latin-1"), UNKNOWN),
    ],
)
def test_common_kinds_are_known_by_their_first_bytes(content: bytes, kind: str) -> None:
    assert mime_of(content) == kind


@pytest.mark.parametrize(
    "markup", [b"<!doctype html><script>alert(1)</script>", b"<svg onload='x'/>", b"<?xml ?><a/>"]
)
def test_what_a_browser_would_run_is_plain_text(markup: bytes) -> None:
    assert mime_of(markup) == TEXT


def test_a_character_that_is_cut_where_looking_ends_makes_no_difference() -> None:
    content = b"x" * (LOOKED_AT - 1) + "é".encode()
    assert mime_of(content) == TEXT
    assert mime_of(b"x" + "é".encode()[:1]) == UNKNOWN
