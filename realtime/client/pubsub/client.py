"""One client of the publish/subscribe protocol, as an application sees it."""

import asyncio
import secrets
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Literal, Self
from urllib.parse import urlencode

import msgspec

from realtime.client.connection import Backoff, Link, Socket, TokenSource, socket_url
from realtime.client.errors import (
    ClientError,
    NotAllowed,
    Refused,
    ServerBusy,
    Stopped,
    TokenExpired,
    Unreadable,
)
from realtime.client.pubsub.conversation import Conversation
from realtime.client.pubsub.frames import decode_frame, encode_frame
from realtime.client.pubsub.hearing import GAP, READY, Hearing, log_fault
from realtime.client.pubsub.outbox import Answer, Entry, Outbox
from realtime.client.pubsub.pace import Pace
from realtime.client.pubsub.progress import Progress
from realtime.client.pubsub.sender import Sender, message
from realtime.client.pubsub.subscriptions import Subscribed, Subscriptions
from realtime.core.codes import CloseCode

PATH = "/ws/pubsub"
MESSAGE_BYTES = 65_536
MESSAGES_PER_SECOND = 100
QUEUE_MAX = 1_000
RETRY_TOKEN_SECONDS = 5.0
# When the server says "too fast" without saying when it will not be.
PAUSE_SECONDS = 1.0
# Refusals in a row after which a fresh token is no longer expected to help.
REFUSALS = 2
# A page of history may hold 500 messages of the largest size.
RECEIVED_MAX = 1 << 25


class _Message(msgspec.Struct):
    type: str
    data: Any = None
    id: str | None = None


_decode = msgspec.json.Decoder(_Message).decode


class RealtimeClient(Hearing):
    """Stays connected inside `async with`, or while `run` runs.

    `client_id` names this client over its connections, so that nothing is published twice. With
    `position` it goes on where an earlier one stopped. With `recovers` off nothing is made good
    after a reconnect. `binary` asks for binary messages as binary frames, which carry no id to
    tell repeated ones by. `presence` is metadata for everyone who watches this user. `on_fault`
    is told what a handler raises. `sleep` and `clock` (monotonic) count seconds.
    """

    def __init__(
        self,
        url: str,
        tokens: TokenSource,
        *,
        client_id: str | None = None,
        position: str | None = None,
        recovers: bool = True,
        binary: bool = False,
        presence: dict[str, Any] | None = None,
        queue_max: int = QUEUE_MAX,
        message_bytes: int = MESSAGE_BYTES,
        messages_per_second: float = MESSAGES_PER_SECOND,
        backoff: Backoff | None = None,
        on_fault: Callable[[Exception], None] = log_fault,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(on_fault)
        self.client_id = client_id or secrets.token_hex(16)
        self.connection_id: str | None = None
        self._tokens = tokens
        self._binary = binary
        self._presence: dict[str, Any] = {"status": "online", "metadata": presence}
        self._sleep = sleep
        self._prefix = secrets.token_hex(8)
        self._count = 0
        self._refusals = 0
        self._own: str | None = None
        self._running: asyncio.Task[None] | None = None
        self._conversation: Conversation
        self._progress = Progress(position)
        query = {"client_id": self.client_id}
        if presence is not None:
            query["metadata"] = msgspec.json.encode(presence).decode()
        self._link = Link(
            f"{socket_url(url, PATH)}?{urlencode(query)}",
            self,
            gives_up=self._gives_up,
            on_wait=self._on_wait,
            backoff=backoff,
            sleep=sleep,
            clock=clock,
            max_bytes=RECEIVED_MAX,
        )
        self.sender = Sender(
            outbox=Outbox(most=queue_max),
            pace=Pace(messages_per_second, clock=clock),
            message_bytes=message_bytes,
            on_sent=partial(self.tell_traffic, "sent"),
            sleep=sleep,
        )
        self._subscriptions = Subscriptions(
            progress=self._progress,
            recovers=recovers,
            new_key=self._new_key,
            subscribe=self._subscribe,
            later=lambda seconds, work: self._conversation.later(seconds, work),
            on_held=self._on_held,
            on_gap=partial(self.emit, GAP),
        )

    def __repr__(self) -> str:
        return f"<RealtimeClient {self.client_id}>"

    @property
    def position(self) -> str | None:
        """Up to where everything was heard: for the client that goes on from there."""
        return self._progress.position

    @property
    def topics(self) -> list[str]:
        """What is subscribed to, or will be."""
        return list(self._subscriptions.wanted)

    # --- Hearing: see Hearing for `on` ------------------------------------------------------

    def subscribe(self, topics: Iterable[str]) -> "asyncio.Future[Subscribed]":
        """Hear these, over reconnects too, until `unsubscribe`."""
        return self._subscriptions.add(topics)

    def unsubscribe(self, topics: Iterable[str]) -> None:
        """Hear these no longer."""
        given = list(topics)
        self._subscriptions.remove(given)
        self._now("Unsubscribe", {"topics": given}, self._new_key())

    def history(
        self,
        topic: str,
        *,
        before: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Answer:
        """What was said on a topic between two positions: {messages, complete}."""
        data = {"topic": topic, "before": before, "after": after, "limit": limit}
        return self.request("History", data, awaits="History")

    # --- Saying --------------------------------------------------------------------------

    def publish(
        self, topic: str, payload: Any, *, metadata: dict[str, Any] | None = None
    ) -> Answer:
        """Publish, delivered once whatever happens to connections; the future of the Ack's data.

        `metadata` has `priority`, `ttl` (seconds) and what else shall travel with it.
        """
        return self.request("Broadcast", {"topic": topic, "payload": payload}, metadata=metadata)

    def send_direct(
        self, user: str, payload: Any, *, metadata: dict[str, Any] | None = None
    ) -> Answer:
        """Tell one user, by name or id. Raises Refused with `is_queued` when it is kept."""
        data = {"target_user": user, "payload": payload}
        return self.request("DirectMessage", data, metadata=metadata)

    def set_presence(
        self,
        status: Literal["online", "away", "offline"],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Be online, away or offline, as far as this client goes; kept over reconnects."""
        self._presence = {
            "status": status,
            "metadata": self._presence["metadata"] if metadata is None else metadata,
        }
        self._now("Presence", self._presence, self._new_key())

    def send_binary(
        self,
        kind: Literal["broadcast", "direct_message", "file_transfer", "stream_data"],
        address: str,
        content: bytes,
    ) -> Answer:
        """Send bytes to a topic, user, file name or stream name; {size, type, checksum}.

        Raises ConnectionLost when the connection went before the answer: sending again might
        deliver twice.
        """
        payload = encode_frame(kind, address, content)
        key = self._new_key()
        return self.sender.keep(
            Entry(key=key, kind="Binary", payload=payload, is_text=False, awaits=kind)
        )

    def request(
        self,
        kind: str,
        data: dict[str, Any],
        *,
        metadata: dict[str, Any] | None = None,
        batch: object | None = None,
        awaits: str = "Ack",
    ) -> Answer:
        """Send any message that is answered by its id, again after a reconnect until it is.

        Raises QueueFull and TooLarge at once; the future raises Refused, and Stopped.
        """
        key = self._new_key()
        return self.sender.keep(
            Entry(
                key=key,
                kind=kind,
                payload=message(kind, data, key, metadata),
                awaits=awaits,
                topic=data.get("topic"),
                repeats=True,
                batch=batch,
            )
        )

    def ask(self, kind: str, data: dict[str, Any] | None = None) -> Answer:
        """Ask a handler of the server's for a type of its own, `X-…`; the future of its answer."""
        return self.request(kind, data or {}, awaits=kind)

    def send(
        self, kind: str, data: dict[str, Any], *, metadata: dict[str, Any] | None = None
    ) -> bool:
        """Send a message that is not answered; False when there is no room for it."""
        payload = message(kind, data, metadata=metadata)
        return self.sender.post(Entry(key=self._new_key(), kind=kind, payload=payload))

    # --- Being connected -------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> "asyncio.Task[None]":
        """Connect, and stay connected until `close`."""
        if self._running is None:
            self._running = asyncio.create_task(self.run())
            # Its error is told by the state and to all who wait; nobody needs to await it.
            self._running.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._running

    async def close(self) -> None:
        """Leave for good; what was not answered raises Stopped."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def run(self) -> None:
        """Stay connected until cancelled. Raises the ClientError that nothing helps against."""
        text = "Disconnected"
        try:
            await self._link.converse(self._converse)
        except ClientError as error:
            text = str(error)
            raise
        finally:
            self.sender.outbox.reject(lambda entry: True, Stopped(text))
            self._subscriptions.stop(text)
            self.tell_state("stopped", text)

    async def token(self) -> str:
        """Return a token for the next connection. Asked by the link, which tells of refusals."""
        self.tell_state("connecting", "Connecting…")
        token = await self._tokens.token()
        self._own = _private_topic_of(token)
        return token

    def forget_token(self) -> None:
        self._tokens.forget_token()

    async def _converse(self, socket: Socket) -> None:
        self._conversation = Conversation(
            hear=self._hear,
            speak=self.sender.speak,
            ping=lambda: self._now("Ping", {"timestamp": int(time.time() * 1000)}),
            sleep=self._sleep,
        )
        try:
            await self._conversation.hold(socket)
        finally:
            self.connection_id = None
            self._subscriptions.on_lost()
            self.sender.stop()

    def _gives_up(self, error: ClientError) -> bool:
        if isinstance(error, TokenExpired) or not isinstance(error, NotAllowed):
            self._refusals = 0
            return error.is_final
        self._refusals += 1
        return self._refusals >= REFUSALS

    def _on_wait(self, error: ClientError, delay: float) -> None:
        self.tell_state("waiting", f"{error}: trying again in {delay:.1f} s")

    def _new_key(self) -> str:
        self._count += 1
        return f"{self._prefix}-{self._count}"

    def _now(self, kind: str, data: dict[str, Any], key: str | None = None) -> None:
        """Send what the connection itself needs, if there is one."""
        if self.connection_id is not None:
            self.sender.now(kind, data, key)

    def _subscribe(self, data: dict[str, Any], key: str) -> None:
        self._now("Subscribe", {**data, "binary": self._binary or None}, key)

    # --- What comes ------------------------------------------------------------------------

    def _hear(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self.tell_traffic("received", "Binary", len(frame))
            self.emit("Binary", decode_frame(frame))
            return
        try:
            received = _decode(frame)
        except msgspec.DecodeError as error:
            raise Unreadable(f"the server sent something else: {error}") from error
        self.tell_traffic("received", received.type, len(frame))
        self._answer(received)
        metadata = received.data.get("metadata")
        if not isinstance(metadata, dict) or self._progress.take(metadata):
            self.emit(received.type, received.data)

    def _answer(self, received: _Message) -> None:
        data = received.data
        match received.type:
            case "Status":
                self._on_status(data["status"], data.get("details") or {})
            case "Ack":
                self._on_ack(data)
            case "Error":
                self._on_error(Refused(data["code"], data["message"], data.get("details")))
            case "History":
                self._on_history(data, received.id or data.get("message_id"))
            case "AuthStatus" if data["status"] == "token_expiring":
                self._conversation.do(self._renew())
            case "Gap":
                self.emit(GAP, data)
            case "Ping":
                self._now("Pong", data)
            case "Pong":
                self._conversation.ponged()
            case _ if received.id is not None:
                key, kind = received.id, received.type
                self.sender.on_answer(lambda e: e.key == key and e.awaits == kind, data)

    def _on_status(self, status: str, details: dict[str, Any]) -> None:
        match status:
            case "connected":
                self._on_greeted(details)
            case "subscribed":
                self._subscriptions.on_confirmed(details)
            case "unsubscribed" if details.get("reason"):
                self._subscriptions.remove(details["topics"])
            case "binary_received":
                self.sender.on_answer(lambda entry: entry.awaits == details["type"], details)

    def _on_ack(self, data: dict[str, Any]) -> None:
        key = data["message_id"]
        if not self._subscriptions.on_ack(key):
            self.sender.on_answer(lambda entry: entry.key == key and entry.awaits == "Ack", data)

    def _on_history(self, data: dict[str, Any], key: str | None) -> None:
        def fits(entry: Entry) -> bool:
            is_its = entry.key == key if key else entry.topic == data["topic"]
            return entry.awaits == "History" and is_its

        self.sender.on_answer(fits, data)

    def _on_error(self, refusal: Refused) -> None:
        key, limit = refusal.details.get("message_id"), refusal.details.get("limit")
        if self.connection_id is None:
            if refusal.code == 429:
                busy = ServerBusy(CloseCode.TRY_AGAIN_LATER, str(refusal))
                busy.retry_after = refusal.retry_after
                raise busy
        elif key is not None:
            if not self._subscriptions.on_refused(key, refusal):
                self.sender.on_refused(key, refusal)
        elif refusal.code == 429:
            wait = refusal.retry_after or PAUSE_SECONDS
            self.sender.on_too_fast(wait, limit)
            self._subscriptions.on_too_fast(wait)
        else:
            self.sender.on_refused_unnamed(refusal)

    def _on_greeted(self, details: dict[str, Any]) -> None:
        self.connection_id = details["connection_id"]
        self._conversation.greeted()
        self.sender.tell_limits(details.get("limits") or {})
        self.sender.pace.refresh()
        if self._presence["status"] != "online":
            self._now("Presence", self._presence, self._new_key())
        self._subscriptions.open(self._own)

    def _on_held(self, recovered: bool | None) -> None:
        """Every subscription holds again."""
        self._refusals = 0
        self.tell_state("live", "Live")
        self.emit(READY, {"recovered": recovered})
        self.sender.start()

    async def _renew(self) -> None:
        """Give the connection a new token, before the old one ends it."""
        while True:
            self._tokens.forget_token()
            try:
                self._now("Auth", {"token": await self._tokens.token()}, self._new_key())
                return
            except ClientError as error:
                # Without one the server ends the connection, and the next attempt says why.
                if error.is_final:
                    return
            await self._sleep(RETRY_TOKEN_SECONDS)


class _Claims(msgspec.Struct):
    userId: str | None = None
    sub: str | None = None


def _private_topic_of(token: str) -> str | None:
    """Return the topic of this token's own user, which nobody else hears; None if it names none."""
    try:
        body = token.split(".")[1]
        claims = msgspec.json.decode(urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=_Claims)
    except (IndexError, ValueError):
        return None
    return f"users.{claims.userId or claims.sub}"
