"""Who is connected and what they hear: the state of one conversation, without its I/O."""

from datetime import datetime
from uuid import UUID

import msgspec

from realtime.core.filters import Scope


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whose token was read and whose account was looked up.

    `subscribe` and `publish` are the role's topic patterns (`own:` allowed in the first);
    `endpoints` its dialect endpoints: simulation, ai, telemetry, pubsub, jwebsocket.
    """

    user_id: UUID
    username: str
    role: str
    endpoints: frozenset[str]
    subscribe: tuple[str, ...]
    publish: tuple[str, ...]
    token_id: str
    issued_at: datetime
    expires_at: datetime

    def may_open(self, endpoint: str) -> bool:
        return endpoint in self.endpoints

    @property
    def scope(self) -> Scope:
        """What this principal may hear, the private topic included."""
        return Scope.of((*self.subscribe, f"users.{self.user_id}"), self.user_id)


class Session:
    """One open conversation. `opened_at` is aware UTC; counters count messages."""

    __slots__ = (
        "address",
        "endpoint",
        "id",
        "messages_in",
        "messages_out",
        "opened_at",
        "principal",
    )

    def __init__(
        self, *, id: str, principal: Principal, endpoint: str, address: str, opened_at: datetime
    ) -> None:
        self.id = id
        self.principal = principal
        self.endpoint = endpoint
        self.address = address
        self.opened_at = opened_at
        self.messages_in = 0
        self.messages_out = 0
