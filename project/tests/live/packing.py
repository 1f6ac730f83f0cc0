"""A raw client that has agreed on permessage-deflate: it packs what it is told to, and unpacks."""

import dataclasses
import zlib
from typing import Any

from project.tests.live.raw import TEXT, WAIT_SECONDS, Frame, RawWebSocket, frame

HEADER = "Sec-WebSocket-Extensions"
OFFER = "permessage-deflate"
# RSV1, as `raw` counts.
PACKED = 4
TAIL = b"\x00\x00\xff\xff"


def packed(data: bytes) -> bytes:
    """Return a whole message as it travels."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH).removesuffix(TAIL)


class PackingWebSocket(RawWebSocket):
    """Reads packed frames with a window of `bits`, and says of each whether it was packed."""

    def __init__(self, url: str, *, offer: str = OFFER, bits: int = 15, **options: Any) -> None:
        headers = {**options.pop("headers", {}), HEADER: offer}
        super().__init__(url, headers=headers, **options)
        self.bits = bits

    @property
    def agreed(self) -> str | None:
        return self.response.headers.get(HEADER.lower())

    def read_frame(self, *, within: float = WAIT_SECONDS) -> Frame:
        got = super().read_frame(within=within)
        if got.reserved != PACKED:
            return got
        payload = zlib.decompressobj(-self.bits).decompress(got.payload + TAIL)
        return dataclasses.replace(got, payload=payload)

    def send_packed(self, payload: bytes, *, opcode: int = TEXT) -> bool:
        return self.send(packed_frame(payload, opcode=opcode))


def packed_frame(payload: bytes, *, opcode: int = TEXT) -> bytes:
    """Return the bytes of one frame with a whole packed message."""
    return frame(opcode, packed(payload), reserved=PACKED)
