"""Where peers wait that are let in first and say then who they are.

Nobody in here hears anything. They are counted and few, get little time, and go with everybody
else when the process ends.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from realtime.attempts import CUTS
from realtime.budgets import SharedBudget
from realtime.consumers import Receive, Send, SocketConsumer
from realtime.core.errors import Disconnect, Restarting
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.hub import Hub
from realtime.transports import Closed, Transport


class Lobby:
    """The connections of this process whose peer is not known yet; `most` at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._inside: set[Transport] = set()
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._inside)

    @property
    def is_full(self) -> bool:
        return len(self._inside) >= self.most

    @contextmanager
    def holding(self, transport: Transport) -> Iterator[None]:
        """Count a connection until its peer is known, or gone."""
        self._inside.add(transport)
        try:
            yield
        finally:
            self._inside.discard(transport)
            if not self._inside:
                self._emptied.set()

    def dismiss(self, error: Disconnect) -> None:
        """Close everyone who is inside, once what they sent already was looked at."""
        for transport in list(self._inside):
            transport.close_after_received(error)

    async def wait_until_empty(self) -> None:
        """Return when nobody is inside."""
        while self._inside:
            self._emptied.clear()
            await self._emptied.wait()


class LobbyConsumer(SocketConsumer):
    """One connection whose peer is let in before it is known; subclasses ask who it is."""

    def __init__(
        self, hub: Hub, limits: DialectLimits, budget: SharedBudget | None = None, *, lobby: Lobby
    ) -> None:
        super().__init__(hub, limits, budget)
        self.lobby = lobby

    async def identify(self, scope: dict[str, Any]) -> Principal:
        """Return who it is, counted by `admit`; `release` follows.

        `scope["access_changes"]` has to be the hub's count before the rights were read. Raises
        Disconnect, having said why in the dialect's words.
        """
        raise NotImplementedError

    async def on_crowded(self) -> None:
        """The lobby is full: raise the Disconnect that says so."""
        raise NotImplementedError

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.begin(receive, send)
        await receive()  # websocket.connect
        try:
            await self.accept(scope)
            await self._serve(scope)
        except Closed as gone:
            self.note_violation(gone, scope)
        except Disconnect as end:
            with suppress(Closed):
                await self.part(end)

    async def _serve(self, scope: dict[str, Any]) -> None:
        try:
            principal = scope["principal"] = await self._learn_who(scope)
        except Disconnect as refusal:
            if not isinstance(refusal, Restarting):
                self.note_refusal(refusal, scope)
            raise
        try:
            await self.converse(scope, principal)
        except Disconnect as end:
            if end.kind in CUTS:
                self.note_refusal(end, scope)
            raise
        finally:
            self.release(principal)

    async def _learn_who(self, scope: dict[str, Any]) -> Principal:
        try:
            if self.lobby.is_full:
                await self.on_crowded()
            with self.lobby.holding(self.transport):
                return await self.identify(scope)
        except (Closed, Disconnect):
            raise
        except Exception as error:
            raise self.fault_of_ours(error) from error
