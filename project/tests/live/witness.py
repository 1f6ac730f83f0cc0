"""Whoever hears a server in these tests holds every word of it against the AsyncAPI document."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection

from realtime.negotiation import endpoint_of
from realtime.tests.described import assert_bytes_described, assert_described, channel_of


class Witness:
    """Hears one connection; of an endpoint that is none of ours it says nothing."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._channel = _channel_in(url, headers or {})

    def hear(self, message: str | bytes) -> None:
        """Raises Undescribed for what the document does not describe."""
        if self._channel is None:
            return
        if isinstance(message, str):
            assert_described(self._channel, message)
        else:
            assert_bytes_described(self._channel, message)


def _channel_in(url: str, headers: Mapping[str, str]) -> str | None:
    """Return how the document calls the endpoint that this handshake asks for."""
    parts = urlsplit(url)
    given = {name.lower(): value for name, value in headers.items()}
    offers = given.get("sec-websocket-protocol", "").split(",")
    scope = {
        "query_string": parts.query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "subprotocols": [offer.strip() for offer in offers],
    }
    return channel_of(endpoint_of(parts.path.rstrip("/"), scope))


@contextmanager
def witnessed_clients() -> Iterator[None]:
    """Let a witness hear what our Python clients hear."""
    recv = ClientConnection.recv

    async def heard(self: ClientConnection, *args: Any, **options: Any) -> Any:
        message = await recv(self, *args, **options)
        request = self.request
        if request is not None and isinstance(message, str | bytes):
            Witness(request.path, dict(request.headers.raw_items())).hear(message)
        return message

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientConnection, "recv", heard)
        yield
