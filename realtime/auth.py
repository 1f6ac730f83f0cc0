"""Who opens this socket: a JWT from the query, the Authorization header or a subprotocol.

Puts into the scope: `principal` (None when refused, then `refusal` is the Disconnect to answer),
`user` (the principal, or None), `session_attributes` as document 000 names them, and
`handshake_until`, the loop's time at which the handshake has to be answered. A session cookie is
never a credential here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.db import Error as DatabaseProblem

from accounts.access import principal_again, principal_for_token
from accounts.tokens import BadToken, TokenProblem
from realtime.calls import call, call_patiently
from realtime.core.errors import Disconnect, Forbidden, PolicyViolation, TryLater
from realtime.core.events import AccessChanged
from realtime.core.session import Principal
from realtime.hub import Hub, Member

logger = logging.getLogger("vitalwire.auth")

SUBPROTOCOL_PREFIX = "access_token."
QUERY_FIELDS_MAX = 32

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class TokenAuth:
    """ASGI middleware in front of the dialects' consumers."""

    def __init__(self, inner: App, hub: Hub) -> None:
        self._inner = inner
        self._hub = hub

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        # A drain waits for whoever is on the way in: they have not been told anything yet.
        self._hub.arrive(self._inner)
        try:
            await self._identify(scope)
            await self._inner(scope, receive, send)
        finally:
            self._hub.depart(self._inner)

    async def _identify(self, scope: dict[str, Any]) -> None:
        principal: Principal | None = None
        # For all of the handshake: what is left of it is the consumer's.
        now = asyncio.get_running_loop().time()
        scope["handshake_until"] = now + settings.AUTH_TIMEOUT_SECONDS
        try:
            principal = await self._authenticate(scope)
        except Disconnect as refusal:
            scope["refusal"] = refusal
        scope["principal"] = scope["user"] = principal
        scope["session_attributes"] = _attributes_of(principal)

    async def _authenticate(self, scope: dict[str, Any]) -> Principal:
        tokens = tokens_in(scope)
        if not tokens:
            raise PolicyViolation("a token is required", kind="token_required")
        if len(tokens) > 1:
            raise PolicyViolation("more than one token was given", kind="invalid_token")
        try:
            return await principal_of(tokens[0], until=scope["handshake_until"])
        except BadToken as error:
            raise PolicyViolation(error.public_text, kind=kind_of(error)) from None


async def principal_of(token: str, *, until: float | None = None) -> Principal:
    """Return whom a token stands for. Raises BadToken, and TryLater when nobody can say.

    `until` is a time of the event loop; without it there is the whole time for authentication.
    """
    deadline = until or asyncio.get_running_loop().time() + settings.AUTH_TIMEOUT_SECONDS
    try:
        async with asyncio.timeout_at(deadline):
            return await call(principal_for_token, token)
    except (DatabaseProblem, TimeoutError) as problem:
        logger.warning("a token cannot be checked: %s", type(problem).__name__)
        raise TryLater("accounts cannot be checked now: try again later") from None


def kind_of(error: BadToken) -> str:
    """Return what a bad token is called where refusals are counted; only expiry is told apart."""
    return "token_expired" if error.problem is TokenProblem.EXPIRED else "invalid_token"


def query_values(scope: dict[str, Any], field: str) -> list[str]:
    """Return what the handshake's query gives for `field`, an empty value included.

    A query of too many fields gives nothing.
    """
    query = scope.get("query_string", b"").decode("utf-8", "replace")
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        return []
    return [value for name, value in fields if name == field]


def tokens_in(scope: dict[str, Any]) -> list[str]:
    """Return every token of the handshake, an empty one included."""
    tokens = query_values(scope, "token")
    for name, value in scope.get("headers", ()):
        scheme, _, credential = value.decode("latin-1").partition(" ")
        if name == b"authorization" and scheme.lower() == "bearer":
            tokens.append(credential.strip())
    tokens += [
        offer.removeprefix(SUBPROTOCOL_PREFIX)
        for offer in scope.get("subprotocols", ())
        if offer.startswith(SUBPROTOCOL_PREFIX)
    ]
    return tokens


def _attributes_of(principal: Principal | None) -> dict[str, str]:
    """Source: seed 000, "Store Attributes"."""
    if principal is None:
        return {}
    return {
        "SURGEON_ID": str(principal.user_id),
        "USERNAME": principal.username,
        "ROLE": principal.role,
    }


class AccessWatch:
    """Looks again at open connections when an account, a role or a token changed."""

    def __init__(
        self,
        hub: Hub,
        *,
        on_narrowed: Callable[[Member, list[str]], None],
        on_ended: Callable[[Member, BadToken | Forbidden], None] = lambda member, reason: None,
    ) -> None:
        self._hub = hub
        self._on_narrowed = on_narrowed
        # Told before the close frame, for dialects that have words of their own.
        self._on_ended = on_ended
        self._turn = asyncio.Lock()

    async def on_access_changed(self, event: AccessChanged) -> None:
        """Re-authorise everyone it concerns; end those who may not stay."""
        # One change after another: an answer that was read before the next change, and came
        # after it, would give back what that one took.
        async with self._turn:
            members = [m for m in self._hub if self._concerns(event, m.session.principal)]
            await asyncio.gather(*map(self._judge, members))

    async def look_again(self, member: Member) -> None:
        """Re-authorise one member, whose rights may have changed while it was let in."""
        async with self._turn:
            await self._judge(member)

    @staticmethod
    def _concerns(event: AccessChanged, principal: Principal) -> bool:
        return (
            event.user_id == principal.user_id
            or event.token_id == principal.token_id
            or event.role == principal.role
        )

    async def _judge(self, member: Member) -> None:
        session = member.session
        try:
            before = None
            while session.principal is not before:
                # Asked again when a new token came while we asked about the old one.
                before = session.principal
                # A database that is away is waited for: who was shut out must not stay for that.
                again = await call_patiently(principal_again, before)
            session.principal = again
            if not session.principal.may_open(session.endpoint):
                raise Forbidden(f"role {session.principal.role} may not open this endpoint")
        except (BadToken, Forbidden) as error:
            text = error.public_text if isinstance(error, BadToken) else str(error)
            logger.info(
                "access ended: user=%s endpoint=%s", session.principal.username, session.endpoint
            )
            # At once: the close frame waits until what the peer sent before was looked at.
            self._hub.shut_out(member)
            if not member.is_ending:
                self._on_ended(member, error)
            member.end(PolicyViolation(text, kind="access_ended"))
            return
        ended = self._hub.reauthorise(member)
        if ended:
            self._on_narrowed(member, ended)
