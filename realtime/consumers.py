"""The life cycle all sockets share: handshake, authentication, frames, expiry, the funnel.

A plain ASGI application rather than Channels' consumer class: that one opens a layer channel
for every socket and pays a task and a thread hop for every frame.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from realtime.attempts import CUTS, Attempts
from realtime.budgets import SharedBudget
from realtime.core.codes import CloseCode
from realtime.core.errors import (
    BadData,
    Disconnect,
    OverBudget,
    PolicyViolation,
    ServerFault,
    TooBig,
    TryLater,
)
from realtime.core.limits import DialectLimits, TokenBucket
from realtime.core.session import Principal, Session
from realtime.hub import Dialect, Hub, Member
from realtime.transports import Closed, Transport, transport_for

logger = logging.getLogger("vitalwire.consumers")

# How often we look whether a blocked peer reads again.
BLOCKED_SECONDS = 0.05

# What the server's own protocol code ends by itself, and how it is counted.
VIOLATIONS = {
    CloseCode.PROTOCOL_ERROR: "protocol_error",
    CloseCode.INVALID_UTF8: "bad_data",
    CloseCode.TOO_BIG: "too_big",
}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class SocketConsumer:
    """One connection of one dialect; subclasses fill in the order of talk.

    The scope carries `principal` (or None and a `refusal` to raise) and `handshake_until`, put
    there by `realtime.auth`, `accepted_subprotocol`, put there by `realtime.negotiation`, and
    `access_changes`, the hub's count before the token was read.
    """

    dialect: Dialect
    endpoint: ClassVar[str]
    # Where refused and cut connections are kept for the operators.
    attempts: Attempts | None = None

    def __init__(self, hub: Hub, limits: DialectLimits, budget: SharedBudget | None = None) -> None:
        self.hub = hub
        self.limits = limits
        self._budget = budget
        self.transport: Transport
        self.member: Member
        self._rate: TokenBucket
        # None until the peer is known; what it sent before is counted apart.
        self._session: Session | None = None
        self._messages_early = 0
        self._expiry: asyncio.TimerHandle | None = None

    # --- What a dialect fills in -------------------------------------------------------

    def check(self, principal: Principal) -> None:
        """Raise PolicyViolation when this principal may not open this endpoint."""
        if not principal.may_open(self.endpoint):
            raise PolicyViolation(
                f"role {principal.role} may not open this endpoint", kind="forbidden"
            )

    async def on_handshake(self, principal: Principal) -> None:
        """The peer is known and waits to be let in: what must be in order before it is.

        `on_close` follows, even when the peer is gone before it was let in.
        """

    async def on_open(self) -> None:
        """The peer was let in and is in the hub."""

    async def on_text(self, text: str) -> None:
        """A text message came; they are handled one after another."""

    async def on_binary(self, data: bytes) -> None:
        """A binary message came."""

    async def on_close(self) -> None:
        """The conversation is over, whoever ended it. Must not raise Disconnect."""

    async def on_refused(self, refusal: Disconnect) -> None:
        """Say so in the dialect's words before the close frame, where it has words for it."""

    async def takes_early(self, wait: float, data: str | bytes) -> bool:
        """Tell whether to hand on a message that came `wait` seconds above the rate.

        Here it waits, so that TCP slows the peer; a dialect may answer and drop it instead.
        """
        await asyncio.sleep(wait)
        return True

    async def takes_large(self, data: str | bytes) -> bool:
        """Tell whether to hand on a message above `message_bytes`; here it ends with 1009."""
        raise TooBig(f"a message has at most {self.limits.message_bytes} bytes")

    # --- The life cycle ----------------------------------------------------------------

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.begin(receive, send)
        await receive()  # websocket.connect
        try:
            principal = self._admit(scope)
        except Disconnect as refusal:
            await self._refuse(scope, refusal)
            return
        try:
            await self._receive_guest(scope, principal)
        finally:
            self.release(principal)

    def begin(self, receive: Receive, send: Send) -> None:
        """Take the connection; its limits hold from now on."""
        limits = self.limits
        self.transport = transport_for(
            receive, send, frame_bytes=limits.frame_bytes, deflate_bytes=limits.deflate_bytes
        )
        self._rate = TokenBucket(self.limits.messages_per_second, now=time.monotonic())

    async def _receive_guest(self, scope: dict[str, Any], principal: Principal) -> None:
        try:
            async with asyncio.timeout_at(scope.get("handshake_until")):
                await self.on_handshake(principal)
        except TimeoutError:
            await self._refuse(scope, TryLater("the handshake took too long: try again later"))
            return
        except Disconnect as refusal:
            await self._refuse(scope, refusal)
            return
        except Exception as error:
            await self._refuse(scope, self.fault_of_ours(error))
            return
        try:
            await self.accept(scope)
        except Closed:
            await self.on_close()
            return
        except asyncio.CancelledError:
            await self.on_close()
            raise
        try:
            await self.converse(scope, principal)
        except Closed as gone:
            self.note_violation(gone, scope)
        except Disconnect as end:
            if end.kind in CUTS:
                self.note_refusal(end, scope)
            await self.part(end)

    async def _refuse(self, scope: dict[str, Any], refusal: Disconnect) -> None:
        """Say why by a close code, which needs an accepted connection."""
        self.note_refusal(refusal, scope)
        with contextlib.suppress(Closed):
            await self.accept(scope)
            await self.on_refused(refusal)
            await self.part(refusal)

    async def part(self, end: Disconnect) -> None:
        """Close for `end`, and ignore what still comes until the peer has left."""
        self.transport.close(end.code, end.reason)
        await self._await_departure()

    def note_violation(self, gone: Closed, scope: dict[str, Any]) -> None:
        """Keep that the server's own protocol code cut somebody."""
        if gone.code in VIOLATIONS:
            self.note_refusal(BadData("cut by the server", kind=VIOLATIONS[gone.code]), scope)

    def note_refusal(self, refusal: Disconnect, scope: dict[str, Any]) -> None:
        """Keep who was refused or cut, and why, for the operators."""
        if self.attempts is not None:
            principal = scope.get("principal")
            self.attempts.note(
                refusal.kind,
                username=principal.username if principal else "",
                address=address_of(scope),
                endpoint=self.endpoint,
                detail=refusal.reason,
            )

    async def accept(self, scope: dict[str, Any]) -> None:
        """Let the peer in. Raises Closed when it left meanwhile."""
        try:
            await self.transport.accept(scope.get("accepted_subprotocol"))
        except OSError:
            # Servers that look say so when the peer left during the handshake.
            raise Closed(CloseCode.ABNORMAL) from None

    async def converse(self, scope: dict[str, Any], principal: Principal) -> None:
        """Talk as a member of the hub until somebody ends it. Raises Closed or Disconnect."""
        self.member = Member(self._new_session(scope, principal), self.transport, self.dialect)
        self.hub.join(self.member)
        self.hub.depart(self)
        try:
            self._catch_access_change(scope)
            self.watch_expiry()
            await self._talk()
        finally:
            self._stop_expiry()
            self.hub.leave(self.member)

    def _catch_access_change(self, scope: dict[str, Any]) -> None:
        """Look again when rights changed between reading the token and joining the hub."""
        seen = scope.get("access_changes", self.hub.access_changes)
        if seen != self.hub.access_changes and self.hub.look_again is not None:
            self.hub.look_again(self.member)

    def _admit(self, scope: dict[str, Any]) -> Principal:
        principal: Principal | None = scope["principal"]
        if principal is None:
            raise scope["refusal"]
        self.check(principal)
        self.admit(principal)
        return principal

    def admit(self, principal: Principal) -> None:
        """Count one more connection of theirs; `release` follows. Raises OverBudget."""
        if self._budget:
            refusal = self._budget.admit(str(principal.user_id), time.monotonic())
            if refusal is not None:
                raise OverBudget(refusal)

    def release(self, principal: Principal) -> None:
        """Give back what `admit` counted."""
        if self._budget:
            self._budget.release(str(principal.user_id))

    async def _talk(self) -> None:
        """Open, read until somebody ends it, close."""
        try:
            try:
                await self.on_open()
                await self._read()
            finally:
                await self.on_close()
        except (Closed, Disconnect):
            raise
        except Exception as error:
            raise self.fault_of_ours(error) from error

    def fault_of_ours(self, error: Exception) -> ServerFault:
        """The one funnel for what nobody expected: all of it to the log, none to the peer."""
        logger.error("a fault of ours on %s", self.endpoint, exc_info=error)
        return ServerFault("internal error")

    async def _read(self) -> None:
        while True:
            data = await self.next_message()
            if type(data) is str:
                await self.on_text(data)
            else:
                await self.on_binary(data)

    async def next_message(self) -> str | bytes:
        """Return the peer's next message that is within the limits, or that the dialect takes."""
        transport, limits, session = self.transport, self.limits, self._session
        while True:
            if transport.is_blocked:
                await self._until_it_reads()
            data = await transport.receive()
            if session is None:
                self._messages_early += 1
            else:
                session.messages_in += 1
                if (tap := session.tap) is not None:
                    tap.received(session, data)
            if limits.messages_per_second and not await self._fits(data):
                continue
            if _exceeds(data, limits.message_bytes) and not await self.takes_large(data):
                continue
            return data

    async def _fits(self, data: str | bytes) -> bool:
        """Count a message against the rate; ask the dialect about one that comes too early."""
        while wait := self._rate.take(time.monotonic()):
            if not await self.takes_early(wait, data):
                return False
        return True

    async def _until_it_reads(self) -> None:
        """Not read a peer that does not read: the answers to what it sends would pile up."""
        transport = self.transport
        # Looked at, not waited for: not every server says when a blocked peer is gone.
        while transport.is_blocked and transport.is_open and not self._is_ending:  # noqa: ASYNC110
            await asyncio.sleep(BLOCKED_SECONDS)

    @property
    def _is_ending(self) -> bool:
        return self._session is not None and self.member.is_ending

    async def _await_departure(self) -> None:
        """Ignore what still comes until the peer has answered our close frame and left."""
        while True:
            try:
                await self.transport.receive()
            except Closed:
                return
            except Disconnect:
                continue

    def _new_session(self, scope: dict[str, Any], principal: Principal) -> Session:
        self._session = session = Session(
            id=uuid.uuid4().hex,
            principal=principal,
            endpoint=self.endpoint,
            address=address_of(scope),
            opened_at=datetime.now(UTC),
        )
        session.messages_in = self._messages_early
        return session

    # --- Expiry ------------------------------------------------------------------------

    def watch_expiry(self) -> None:
        """End the conversation when its token does; called again after a renewal."""
        self._stop_expiry()
        left = (self.member.session.principal.expires_at - datetime.now(UTC)).total_seconds()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(max(left, 0), self.on_expired)

    def on_expired(self) -> None:
        """The token ran out on an open connection."""
        self.member.end(PolicyViolation("token expired"))

    def _stop_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


def address_of(scope: dict[str, Any]) -> str:
    """Return the peer's address as the server saw it, or nothing."""
    client = scope.get("client")
    return client[0] if client else ""


def _exceeds(data: str | bytes, most: int) -> bool:
    """Tell whether a message has more than `most` bytes; 0 allows any."""
    if not most or len(data) * 4 <= most:
        return False
    return len(data.encode() if isinstance(data, str) else data) > most
