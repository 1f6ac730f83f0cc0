"""daphne with autobahn's own permessage-deflate: a loop over the listeners, each compressed for.

daphne offers no setting for it; nothing but the answer to an offer is changed.
"""

from typing import Any

from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from daphne.ws_protocol import WebSocketFactory

LISTEN = "/listen"

listeners: dict[int, Any] = {}
make_factory = WebSocketFactory.__init__


def accept_first(offers: list[Any]) -> Any:
    """Agree on the first offer, with autobahn's defaults."""
    found = [offer for offer in offers if isinstance(offer, PerMessageDeflateOffer)]
    return PerMessageDeflateOfferAccept(found[0]) if found else None


def make_compressing_factory(factory: Any, *args: Any, **options: Any) -> None:
    make_factory(factory, *args, **options)
    factory.setProtocolOptions(perMessageCompressionAccept=accept_first)


WebSocketFactory.__init__ = make_compressing_factory


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Tell everyone who listens what anybody says, unread."""
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == LISTEN:
        listeners[id(send)] = send
    while (message := await receive())["type"] == "websocket.receive":
        told = {"type": "websocket.send", "text": message["text"]}
        for each in list(listeners.values()):
            await each(told)
    listeners.pop(id(send), None)
