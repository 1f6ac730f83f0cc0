"""A WebSocket client on a bare socket: it sends what no library would, and sees how it ends.

Blocking, without threads; every wait has a limit. `Ending` tells a close frame from a reset.
"""

import base64
import os
import socket
import struct
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from project.tests.live.witness import Witness

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
WAIT_SECONDS = 10.0
# What a packed message ends with, and what does not travel (RFC 7692, 7.2.1).
SYNC_FLUSH = b"\x00\x00\xff\xff"
CLOSE_FRAME, RESET, END_OF_STREAM = "a close frame", "a TCP reset", "the end of the stream"


class Silence(AssertionError):
    """Raised when nothing came in the time a test was ready to wait."""


class Ended(AssertionError):
    """Raised when the connection ended where a test expected a message."""

    def __init__(self, ending: "Ending") -> None:
        super().__init__(f"the connection ended by {ending}")
        self.ending = ending


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes
    is_final: bool
    reserved: int


@dataclass(frozen=True)
class Ending:
    """How a connection ended: `by` a close frame with its code and reason, or without one."""

    by: str
    code: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.by} {self.code} {self.reason!r}"


@dataclass(frozen=True)
class Response:
    """The head of an HTTP response, and as much of its body as came with it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RawConnection:
    """A TCP connection that speaks whatever it is told to."""

    def __init__(self, url: str, *, receive_buffer: int | None = None) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.target = parts.path + (f"?{parts.query}" if parts.query else "")
        self._socket = socket.socket()
        if receive_buffer is not None:
            # Before connecting: it decides the window that the peer is offered.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(WAIT_SECONDS)
        self._socket.connect((self.host, self.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._lost: Ending | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()

    def send(self, data: bytes) -> bool:
        """Send bytes; False when the peer takes no more because it has ended the connection."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_for(self, data: bytes, seconds: float) -> int:
        """Send as much of `data` as the peer takes before it is slow for `seconds`."""
        sent = 0
        self._socket.settimeout(seconds)
        try:
            while sent < len(data):
                sent += self._socket.send(data[sent : sent + 65_536])
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self._socket.settimeout(WAIT_SECONDS)
        return sent

    def read_response(self, *, within: float = WAIT_SECONDS) -> Response:
        """Return the HTTP response that comes; its body only as far as it has arrived."""
        deadline = time.monotonic() + within
        while b"\r\n\r\n" not in self._buffer:
            self._fill(deadline)
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        self._buffer = bytearray(rest)
        return Response(int(lines[0].split()[1]), headers, rest)

    def wait_for_end(self, *, within: float = WAIT_SECONDS) -> Ending:
        """Read until the peer ends the connection without more words."""
        deadline = time.monotonic() + within
        try:
            while True:
                self._fill(deadline)
        except Ended as ended:
            return ended.ending

    def tcp_info(self) -> bytes:
        """Return what the kernel knows of the connection, without reading from it."""
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)

    def unread_by_peer(self) -> int:
        """Return how many bytes of ours the peer's program has not read: sent, or on their way."""
        ours, theirs = self._socket.getsockname()[1], self._socket.getpeername()[1]
        unread = 0
        with open("/proc/net/tcp") as connections:
            for line in list(connections)[1:]:
                _, local, remote, _, queues, *_ = line.split()
                ports = int(local.partition(":")[2], 16), int(remote.partition(":")[2], 16)
                to_send, to_read = (int(number, 16) for number in queues.split(":"))
                if ports == (ours, theirs):
                    unread += to_send
                elif ports == (theirs, ours):
                    unread += to_read
        return unread

    def fileno(self) -> int:
        """Return the descriptor, so that a selector can wait for many connections."""
        return self._socket.fileno()

    def drop(self) -> None:
        """End the TCP connection without a word."""
        self._socket.close()

    def reset(self) -> None:
        """End the TCP connection by a reset, as a machine that lost its state does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _fill(self, deadline: float) -> None:
        """Read what comes next into the buffer. Raises Ended or Silence."""
        if self._lost is not None:
            raise Ended(self._lost)
        left = deadline - time.monotonic()
        if left <= 0:
            raise Silence("nothing came in time")
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            raise Silence("nothing came in time") from None
        except ConnectionResetError:
            self._lost = Ending(RESET)
            raise Ended(self._lost) from None
        finally:
            self._socket.settimeout(WAIT_SECONDS)
        if not data:
            self._lost = Ending(END_OF_STREAM)
            raise Ended(self._lost)
        self._buffer += data


class RawWebSocket(RawConnection):
    """A WebSocket after its opening handshake; `response` is what the server answered to it.

    With `waits` off the answer is read by `read_answer` only. Every text message that is read
    has to be described by the AsyncAPI document.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
        waits: bool = True,
    ) -> None:
        super().__init__(url, receive_buffer=receive_buffer)
        self._witness = Witness(url, headers or {})
        self.send(self.handshake(headers or {}))
        if waits:
            self.read_answer()

    def read_answer(self) -> None:
        """Complete the opening handshake."""
        try:
            self.response = self.read_response()
        except AssertionError:
            self.drop()
            raise

    def handshake(self, headers: Mapping[str, str]) -> bytes:
        """Return the request that opens the WebSocket."""
        fields = {
            "Host": f"{self.host}:{self.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        lines = [f"GET {self.target} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send_frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        final: bool = True,
        reserved: int = 0,
        masked: bool = True,
        announced: int | None = None,
    ) -> bool:
        """Send one frame, valid or not; `announced` is the length its header claims."""
        return self.send(
            frame(
                opcode,
                payload,
                final=final,
                reserved=reserved,
                masked=masked,
                announced=announced,
            )
        )

    def send_text(self, text: str | bytes) -> bool:
        return self.send_frame(TEXT, text.encode() if isinstance(text, str) else text)

    def send_json(self, value: Any) -> bool:
        return self.send_frame(TEXT, msgspec.json.encode(value))

    def send_close(self, code: int | None = 1000, reason: bytes = b"") -> bool:
        return self.send_frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)

    def read_frame(self, *, within: float = WAIT_SECONDS) -> Frame:
        """Return the next frame of any kind. Raises Ended without one, Silence when none comes."""
        deadline = time.monotonic() + within
        while (found := _split(self._buffer)) is None:
            self._fill(deadline)
        got, length = found
        del self._buffer[:length]
        return got

    def read(self, *, within: float = WAIT_SECONDS) -> bytes:
        """Return the next text message; pings are answered. Raises Ended with how it ended."""
        deadline = time.monotonic() + within
        while True:
            got = self.read_frame(within=deadline - time.monotonic())
            if (text := self._heed(got)) is not None:
                return text

    def _heed(self, got: Frame) -> bytes | None:
        """Return what a text frame says; answer a ping. Raises Ended for a close frame."""
        if got.opcode == PING:
            self.send_frame(PONG, got.payload)
        elif got.opcode == CLOSE:
            raise Ended(_ending(got.payload))
        self._look_at(got)
        return got.payload if got.opcode == TEXT else None

    def _look_at(self, got: Frame) -> None:
        """Hold a whole message, packed or not, against the document."""
        if not got.is_final or got.opcode not in (TEXT, BINARY):
            return
        payload = got.payload
        if got.reserved:
            payload = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + SYNC_FLUSH)
        self._witness.hear(payload.decode() if got.opcode == TEXT else payload)

    def arrived(self) -> list[Any]:
        """Return the JSON messages that came, where a selector found that something did."""
        self._fill(time.monotonic() + WAIT_SECONDS)
        found = []
        while (split := _split(self._buffer)) is not None:
            got, length = split
            del self._buffer[:length]
            if (text := self._heed(got)) is not None:
                found.append(msgspec.json.decode(text))
        return found

    def read_json(self, *, within: float = WAIT_SECONDS) -> Any:
        return msgspec.json.decode(self.read(within=within))

    def messages(self, *, seconds: float) -> list[Any]:
        """Return every JSON message that comes within `seconds`."""
        deadline = time.monotonic() + seconds
        found = []
        try:
            while True:
                found.append(self.read_json(within=deadline - time.monotonic()))
        except Silence:
            return found

    def ending(self, *, within: float = WAIT_SECONDS) -> Ending:
        """Return how the connection ends; messages before that are passed over."""
        deadline = time.monotonic() + within
        try:
            while True:
                self.read(within=deadline - time.monotonic())
        except Ended as ended:
            return ended.ending

    def close(self) -> Ending:
        """Close as RFC 6455 asks, and return what the server answered."""
        self.send_close()
        try:
            return self.ending()
        finally:
            self.drop()


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    reserved: int = 0,
    masked: bool = True,
    announced: int | None = None,
) -> bytes:
    """Return the bytes of one frame; `announced` is the length its header claims."""
    length = len(payload) if announced is None else announced
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 65_536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    key = os.urandom(4)
    pattern = int.from_bytes(key * (len(payload) // 4 + 1), "big") >> 8 * (4 - len(payload) % 4)
    hidden = int.from_bytes(payload, "big") ^ pattern
    return head + key + hidden.to_bytes(len(payload), "big")


def _split(buffer: bytearray) -> tuple[Frame, int] | None:
    """Return the first frame of `buffer` and its length in bytes, or None when it is not whole."""
    if len(buffer) < 2:
        return None
    length, start = buffer[1] & 0x7F, 2
    if length == 126:
        start = 4
        length = int.from_bytes(buffer[2:4], "big")
    elif length == 127:
        start = 10
        length = int.from_bytes(buffer[2:10], "big")
    if len(buffer) < start + length:
        return None
    assert not buffer[1] & 0x80, "a server must not mask its frames"
    payload = bytes(buffer[start : start + length])
    head = buffer[0]
    return Frame(head & 0x0F, payload, bool(head & 0x80), head >> 4 & 0x7), start + length


def _ending(payload: bytes) -> Ending:
    if len(payload) < 2:
        return Ending(CLOSE_FRAME)
    return Ending(CLOSE_FRAME, int.from_bytes(payload[:2], "big"), payload[2:].decode())
