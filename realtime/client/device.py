"""A device's side of /ws/device: reports kept until acknowledged, commands answered."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from realtime.client.connection import Backoff, Link, Socket, TokenSource, never, socket_url
from realtime.client.errors import (
    ClientError,
    NotAllowed,
    ServerBusy,
    TokenExpired,
    Unreadable,
)
from realtime.core.codes import CloseCode

PATH = "/ws/device"
# Reports kept while there is no connection; then the oldest make room. Half a day at one in
# four seconds, and some megabytes.
KEPT_MAX = 10_000
# What was kept goes out below the server's hundred messages a second.
RESEND_PAUSE_SECONDS = 0.02
HEARTBEAT_SECONDS = 30.0
# A report that is not acknowledged by then is sent again; the server stores it once.
ANSWER_SECONDS = 10.0

log = logging.getLogger("vitalwire.client")

# Given a command and its parameters it returns what became of it; a failure is told by raising.
Handler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Value(msgspec.Struct, frozen=True):
    """One metric's value; `timestamp` is ISO 8601 with a zone."""

    value: float
    unit: str
    timestamp: str


class _Report(msgspec.Struct, frozen=True, tag="telemetry"):
    id: str
    device_id: int
    telemetry: dict[str, Value]


class _Incoming(msgspec.Struct):
    """Every field of every message that a device may be sent."""

    type: str
    success: bool = False
    error: str = ""
    message: Any = ""
    id: str = ""
    code: str = ""
    command_id: int = 0
    command: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    retry_after_ms: float = 0.0


async def refuse_commands(command: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Answer every command with a failure: what a device does that knows none."""
    raise ValueError(f"this device does not know the command {command}")


def _refusal(reply: _Incoming) -> ClientError:
    match reply.error:
        case "too_many_connections" | "rate_limited":
            busy = ServerBusy(CloseCode.POLICY_VIOLATION, reply.error)
            busy.retry_after = reply.retry_after_ms / 1000
            return busy
        case "token_expired":
            return TokenExpired(CloseCode.POLICY_VIOLATION, reply.error)
    return NotAllowed(CloseCode.POLICY_VIOLATION, reply.error)


class DeviceClient:
    """One device. `run` stays connected until cancelled; `report` may be called at any time.

    A report has an id of its own and is sent again after a cut, so that it is stored once
    whatever happens. `sleep` and `clock` (monotonic) count seconds.
    """

    def __init__(
        self,
        url: str,
        tokens: TokenSource,
        *,
        device_id: int,
        on_command: Handler = refuse_commands,
        gives_up: Callable[[ClientError], bool] = never,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device_id = device_id
        self.dropped = 0
        self._on_command = on_command
        self._sleep = sleep
        self._clock = clock
        self._link = Link(
            socket_url(url, PATH), tokens, gives_up=gives_up, backoff=backoff, sleep=sleep
        )
        # Reports by id, oldest first; when each was sent last, None for not on this connection.
        self._reports: dict[str, _Report] = {}
        self._sent_at: dict[str, float] = {}
        self._has_news = asyncio.Event()
        self._is_settled = asyncio.Event()
        self._is_settled.set()

    @property
    def unacknowledged(self) -> int:
        """How many reports are not known to be stored."""
        return len(self._reports)

    def report(self, telemetry: dict[str, Value]) -> str:
        """Hand over some values, to be delivered as soon as may be; return the report's id."""
        report = _Report(uuid.uuid4().hex[:16], self.device_id, telemetry)
        self._reports[report.id] = report
        while len(self._reports) > KEPT_MAX:
            oldest = next(iter(self._reports))
            self._forget(oldest)
            self.dropped += 1
        self._is_settled.clear()
        self._has_news.set()
        return report.id

    async def settled(self) -> None:
        """Return once every report is known to be stored, or was given up."""
        await self._is_settled.wait()

    async def run(self) -> None:
        """Stay connected; raises only the ClientError that `gives_up` said yes to."""
        await self._link.converse(self._converse)

    async def _converse(self, socket: Socket) -> None:
        reply = await socket.receive(_Incoming)
        if reply.type != "auth_response":
            raise Unreadable(f"the first message is {reply.type}, not auth_response")
        if not reply.success:
            raise _refusal(reply)
        self._sent_at.clear()
        self._has_news.set()
        tasks = [
            asyncio.create_task(work(socket)) for work in (self._speak, self._listen, self._beat)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _speak(self, socket: Socket) -> None:
        """Send every report that was not sent on this connection, or not answered for long."""
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._has_news.wait()
            except TimeoutError:
                log.debug("device %d: looking for what was not answered", self.device_id)
            self._has_news.clear()
            for report in list(self._reports.values()):
                if self._is_due(report.id):
                    self._sent_at[report.id] = self._clock()
                    await socket.send(report)
                    await self._sleep(RESEND_PAUSE_SECONDS)

    def _is_due(self, report_id: str) -> bool:
        sent_at = self._sent_at.get(report_id)
        return report_id in self._reports and (
            sent_at is None or self._clock() - sent_at >= ANSWER_SECONDS
        )

    async def _beat(self, socket: Socket) -> None:
        while True:
            await self._sleep(HEARTBEAT_SECONDS)
            await socket.send({"type": "heartbeat"})

    async def _listen(self, socket: Socket) -> None:
        while True:
            message = await socket.receive(_Incoming)
            match message.type:
                case "telemetry_ack":
                    self._forget(message.id)
                case "command":
                    await self._obey(socket, message)
                case "error":
                    self._on_error(message)

    def _on_error(self, message: _Incoming) -> None:
        """A report that the server can never take is given up; another is sent again later."""
        log.warning("device %d: %s: %s", self.device_id, message.code, message.message)
        if message.id in self._reports and not message.retry_after_ms:
            self._forget(message.id)
            self.dropped += 1

    def _forget(self, report_id: str) -> None:
        self._reports.pop(report_id, None)
        self._sent_at.pop(report_id, None)
        if not self._reports:
            self._is_settled.set()

    async def _obey(self, socket: Socket, message: _Incoming) -> None:
        answer: dict[str, Any] = {"type": "command_response", "command_id": message.command_id}
        try:
            result = await self._on_command(message.command, message.parameters)
            answer |= {"status": "executed", "result": result}
        except (ValueError, LookupError, OSError) as error:
            answer |= {"status": "failed", "result": {"error": str(error)[:200]}}
        await socket.send(answer)
