"""Who it is: a token in the handshake or in the first message, judged and answered."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from django.conf import settings

from accounts.access import Right, may
from accounts.tokens import BadToken
from devices.access import device_of
from realtime.auth import kind_of, principal_of, tokens_in
from realtime.core.errors import (
    Disconnect,
    Failure,
    OverBudget,
    PolicyViolation,
    TryLater,
    Unavailable,
)
from realtime.core.frames import Frame
from realtime.core.limits import Refusal
from realtime.core.session import Principal
from realtime.dialects.telemetry.device import DATABASE_AWAY, ask
from realtime.dialects.telemetry.schema import (
    MSGPACK,
    Auth,
    AuthResponse,
    Code,
    Outgoing,
    PackedTelemetryDialect,
    Rejection,
    TelemetryDialect,
    error,
    rejection_for,
)
from realtime.lobby import LobbyConsumer

FIRST_SAY_WHO = error(
    Rejection(Code.NOT_AUTHENTICATED, 'the first message is {"type":"auth","token":…}')
)
DIALECT = TelemetryDialect()
PACKED_DIALECT = PackedTelemetryDialect()

# Returns what another dialect of the same path answers to a first message that is its own.
Foreign = Callable[[str], bytes | None]


class _Kind(msgspec.Struct):
    type: Any = None


_decode_kind = msgspec.json.Decoder(_Kind).decode
_unpack_kind = msgspec.msgpack.Decoder(_Kind).decode


class TelemetryAuth(LobbyConsumer):
    """The first part of the conversation: `auth_response` is the first frame that is no error."""

    dialect: TelemetryDialect = DIALECT
    foreign: Foreign | None = None
    scope: dict[str, Any]
    # The device whose account this is.
    own_device: int | None = None

    async def accept(self, scope: dict[str, Any]) -> None:
        """Let the peer in; from now on it is answered in the form that it has chosen."""
        if scope.get("accepted_subprotocol") == MSGPACK:
            self.dialect = PACKED_DIALECT
        await super().accept(scope)

    async def identify(self, scope: dict[str, Any]) -> Principal:
        self.scope = scope
        tokens = tokens_in(scope) or [await self._first_token()]
        try:
            if len(tokens) > 1:
                raise PolicyViolation("more than one token was given", kind="invalid_token")
            scope["access_changes"] = self.hub.access_changes
            principal = scope["principal"] = await self.verify(tokens[0])
            self.own_device = await self._find_own_device(principal)
            self.admit(principal)
        except OverBudget as over:
            self.tell(refused(over, over.refusal))
            raise PolicyViolation(over.reason, kind=over.kind) from None
        except Disconnect as end:
            self.tell(refused(end))
            raise
        return principal

    async def on_crowded(self) -> None:
        most = self.lobby.most
        budget = Refusal(
            kind="too_many_connections",
            name="connections_total",
            limit=most,
            used=len(self.lobby),
            retry_after_ms=settings.AUTH_TIMEOUT_SECONDS * 1000,
        )
        end = PolicyViolation(f"{most} connections wait to say who they are", kind=budget.kind)
        self.tell(refused(end, budget))
        raise end

    async def verify(self, token: str) -> Principal:
        """Return who may open this endpoint with the token. Raises Disconnect."""
        try:
            principal = await principal_of(token)
        except BadToken as problem:
            raise PolicyViolation(problem.public_text, kind=kind_of(problem)) from None
        self.check(principal)
        return principal

    def tell(self, message: Outgoing) -> None:
        """Send a message, before and after the peer is known."""
        frame = self.dialect.frame(message)
        if self._session is None:
            self.transport.write(frame)
        else:
            self.member.send(frame)

    async def _first_token(self) -> str:
        seconds = settings.AUTH_TIMEOUT_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await self._until_auth()
        except TimeoutError:
            text = f"no auth within {seconds} s"
            raise PolicyViolation(text, kind="auth_timeout") from None

    async def _until_auth(self) -> str:
        data = await self.next_message()
        self._leave_foreigner(data)
        while True:
            answer = FIRST_SAY_WHO
            if isinstance(data, bytes) != self.dialect.is_packed:
                answer = self.dialect.wrong_form
            else:
                try:
                    message = self.dialect.parse(data)
                    if isinstance(message, Auth):
                        return message.token
                except Failure as failure:
                    if _is_auth(data):
                        answer = error(rejection_for(failure))
            self.tell(answer)
            data = await self.next_message()

    def _leave_foreigner(self, first: str | bytes) -> None:
        """Answer a first message in another dialect's words, and end."""
        if self.foreign is None or isinstance(first, bytes) or _is_auth(first):
            return
        if self.dialect.is_packed:
            return
        answer = self.foreign(first)
        if answer is not None:
            self.transport.write(Frame(answer))
            raise PolicyViolation("a token is required", kind="token_required")

    async def _find_own_device(self, principal: Principal) -> int | None:
        """Return the device that signs in with this account; None for a person's."""
        if not may(principal, Right.REPORT_OWN_READINGS):
            return None
        try:
            async with asyncio.timeout(settings.AUTH_TIMEOUT_SECONDS):
                device = await ask(device_of, principal.user_id)
        except (Unavailable, TimeoutError):
            raise TryLater(DATABASE_AWAY) from None
        if device is None:
            raise PolicyViolation("this account is no device in service", kind="forbidden")
        return int(device.pk)


def refused(end: Disconnect, budget: Refusal | None = None) -> AuthResponse:
    """Return the answer to an `auth` that ends the connection."""
    name = "unavailable" if isinstance(end, TryLater) and budget is None else end.kind
    if budget is None:
        return AuthResponse(success=False, error=name, message=end.reason)
    return AuthResponse(
        success=False,
        error=name,
        message=end.reason,
        limit=budget.limit,
        used=budget.used,
        retry_after_ms=budget.retry_after_ms,
    )


def _is_auth(data: str | bytes) -> bool:
    try:
        kind = _unpack_kind(data) if isinstance(data, bytes) else _decode_kind(data)
        return bool(kind.type == "auth")
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
