"""permessage-deflate without context takeover: what is agreed on, packing, bounded unpacking.

Every message stands alone, so that one packed form serves all connections, and no connection
keeps a window between messages. Source: RFC 7692, section 7.
"""

import re
import zlib
from collections.abc import Iterable

import msgspec

NAME = "permessage-deflate"
# zlib cannot pack without a header in a window of 8 bits.
LEAST_BITS, MOST_BITS = 9, 15
# A sync flush ends with these; they do not travel (7.2.1).
TAIL = b"\x00\x00\xff\xff"
# What zlib looks ahead is missing from how far it can refer back.
LOOK_AHEAD_BYTES = 262
# Above this the fastest level: a large message must not hold up the others.
THOROUGH_BYTES = 16 * 1024
# Above this packing would take longer than 10 ms even so.
PACKED_MAX = 512 * 1024
# Where a dialect has no limit of its own a packed message must have one all the same.
UNPACKED_MAX = 16 * 1024 * 1024

Parameters = Iterable[tuple[str, str | None]]
Bytes = bytes | bytearray | memoryview


class BadHeader(ValueError):
    """Raised for a `Sec-WebSocket-Extensions` that is none: the handshake has to fail."""


class TooLong(Exception):
    """Raised for a message that unpacks to more than it may have."""


class Corrupt(Exception):
    """Raised for what no peer has packed that keeps the protocol."""


# --- What is agreed on ---------------------------------------------------------------------

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rf'(?:{_TOKEN}|"(?:\\?[!#$%&\'*+\-.^_`|~0-9A-Za-z])++")'
_PARAMETER = re.compile(rf"[ \t]*+;[ \t]*+({_TOKEN})(?:[ \t]*+=[ \t]*+({_VALUE}))?")
_EXTENSION = re.compile(rf"[ \t]*+(?:({_TOKEN})((?:{_PARAMETER.pattern})*+))?[ \t]*+(?:,|$)")
_WINDOWS = frozenset(str(bits) for bits in range(8, MOST_BITS + 1))


class Agreement(msgspec.Struct, frozen=True):
    """What the server answers to an offer. `window_bits` is how far it refers back."""

    window_bits: int = MOST_BITS
    # Whether the client asked for a window, and has to be told that it is kept.
    is_asked: bool = False

    @property
    def parameters(self) -> list[tuple[str, str | None]]:
        given: list[tuple[str, str | None]] = [
            ("server_no_context_takeover", None),
            ("client_no_context_takeover", None),
        ]
        if self.is_asked:
            given.append(("server_max_window_bits", str(self.window_bits)))
        return given

    @property
    def header(self) -> str:
        words = [name if value is None else f"{name}={value}" for name, value in self.parameters]
        return "; ".join([NAME, *words])


def agreement_on(header: str) -> Agreement | None:
    """Return the answer to the first offer that can be kept, None where there is none.

    `header` is a client's `Sec-WebSocket-Extensions`, several of them joined by commas.
    Raises BadHeader.
    """
    agreements = (answer_to(parameters) for name, parameters in _offers_in(header) if name == NAME)
    return next((each for each in agreements if each is not None), None)


def answer_to(parameters: Parameters) -> Agreement | None:
    """Return what one offer leads to; None declines it: it is unknown, wrong or too narrow."""
    asked: dict[str, str | None] = {}
    for name, value in parameters:
        if name in asked or not _is_valid(name, value):
            return None
        asked[name] = value
    window = asked.get("server_max_window_bits")
    if window is None:
        return Agreement()
    return Agreement(int(window), is_asked=True) if int(window) >= LEAST_BITS else None


def _is_valid(name: str, value: str | None) -> bool:
    match name:
        case "server_no_context_takeover" | "client_no_context_takeover":
            return value is None
        case "server_max_window_bits":
            return value in _WINDOWS
        case "client_max_window_bits":
            # We unpack with the widest window, whatever the client keeps to.
            return value is None or value in _WINDOWS
    return False


def _offers_in(header: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Return the extensions offered, in order. Source of the grammar: RFC 6455, 9.1."""
    offers, place = [], 0
    while place < len(header):
        found = _EXTENSION.match(header, place)
        if found is None:
            raise BadHeader("Sec-WebSocket-Extensions is malformed")
        if found[1] is not None:
            offers.append((found[1], _parameters_in(found[2])))
        place = found.end()
    if not offers:
        raise BadHeader("Sec-WebSocket-Extensions is empty")
    return offers


def _parameters_in(text: str) -> list[tuple[str, str | None]]:
    return [(name, _unquoted(value) or None) for name, value in _PARAMETER.findall(text)]


def _unquoted(value: str) -> str:
    return value[1:-1].replace("\\", "") if value.startswith('"') else value


# --- Packing -------------------------------------------------------------------------------


def window_for(length: int, most: int) -> int:
    """Return the bits of the narrowest window that is as good as `most` for so many bytes."""
    return min(most, max(LEAST_BITS, (length + LOOK_AHEAD_BYTES).bit_length()))


def packed(payload: bytes, window_bits: int) -> bytes:
    """Return a message as it travels, for whoever unpacks with such a window or a wider one."""
    is_small = len(payload) <= THOROUGH_BYTES
    packer = zlib.compressobj(
        level=zlib.Z_DEFAULT_COMPRESSION if is_small else zlib.Z_BEST_SPEED,
        wbits=-window_bits,
        # Less memory to clear, which is most of the time that a small message takes.
        memLevel=5 if is_small else zlib.DEF_MEM_LEVEL,
    )
    return packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH).removesuffix(TAIL)


# --- Unpacking -----------------------------------------------------------------------------


class Unpacking:
    """One message of a peer that arrives in parts; never more than `most` bytes of it."""

    __slots__ = ("_after", "_left", "_zlib")

    def __init__(self, most: int) -> None:
        self._left = most
        self._zlib = zlib.decompressobj(-MOST_BITS)
        # What follows a block that says it is the last one.
        self._after = b""

    def take(self, data: Bytes) -> bytes:
        """Return what `data` unpacks to. Raises TooLong or Corrupt, and is of no use then."""
        if self._zlib.eof:
            self._after += data
            unpacked = b""
        else:
            unpacked = self._decompress(data, self._left + 1)
            self._after = self._zlib.unused_data
        if len(unpacked) > self._left:
            raise TooLong
        # After a last block there is the beginning of an empty one, and no more (7.2.3.4).
        if self._after not in (b"", b"\x00"):
            raise Corrupt("something follows the last block")
        self._left -= len(unpacked)
        return unpacked

    def end(self) -> None:
        """The message is whole. Raises Corrupt when it broke off within something."""
        if not self._zlib.eof and self._decompress(TAIL, 1):
            raise Corrupt("the message breaks off")

    def _decompress(self, data: Bytes, most: int) -> bytes:
        try:
            return self._zlib.decompress(data, most)
        except zlib.error as problem:
            raise Corrupt(str(problem)) from None


def unpacked(data: bytes) -> bytes:
    """Return the payload of a message that we packed ourselves."""
    return zlib.decompressobj(-MOST_BITS).decompress(data + TAIL)
