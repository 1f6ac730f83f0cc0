"""What kind of content some bytes are, told by the bytes alone: no name and no claim counts.

Few kinds, the common ones; what is not known for certain is `application/octet-stream`. Markup
and scripts are plain text, so that no browser runs what somebody stored.
"""

from typing import Final

UNKNOWN: Final = "application/octet-stream"
TEXT: Final = "text/plain"
# Looked at for telling text from other things.
LOOKED_AT: Final = 64 * 1024

# (offset, bytes there, kind), the more specific first.
_SIGNATURES: Final = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"BM", "image/bmp"),
    (128, b"DICM", "application/dicom"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
)
# By the four bytes after "RIFF" and a length.
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
# By the brand of an ISO media file.
_BRANDS: Final = {b"avif": "image/avif", b"heic": "image/heic", b"M4A ": "audio/mp4"}
_TEXT_CONTROLS: Final = frozenset(b"\t\n\f\r\x1b")


def mime_of(content: bytes) -> str:
    """Return the media type of `content`."""
    for offset, signature, kind in _SIGNATURES:
        if content.startswith(signature, offset):
            return kind
    if content.startswith(b"RIFF"):
        return _RIFF.get(content[8:12], UNKNOWN)
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12], "video/mp4")
    return TEXT if _is_text(content[:LOOKED_AT]) else UNKNOWN


def _is_text(start: bytes) -> bool:
    """Tell whether it is UTF-8 without control characters; a character may be cut at the end."""
    if not start:
        return False
    try:
        start.decode()
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and len(start) == LOOKED_AT
        if not is_cut:
            return False
    return all(byte >= 0x20 or byte in _TEXT_CONTROLS for byte in start) and 0x7F not in start
