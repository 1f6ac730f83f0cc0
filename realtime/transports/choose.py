"""Which transport fits the server that runs us."""

import sys
from collections.abc import Callable
from typing import Any

from realtime.transports.asgi import AsgiTransport
from realtime.transports.base import Message, Transport


def transport_for(
    receive: Callable[[], Any],
    send: Callable[[Message], Any],
    *,
    frame_bytes: int,
    deflate_bytes: int = 0,
) -> Transport:
    """Return the best transport for this connection; the portable one when in doubt.

    A message above `frame_bytes` ends the connection with 1009, and one from `deflate_bytes` on
    (0: none) is packed for a peer that offers it, where the server lets us say so.
    """
    if "daphne.server" in sys.modules:
        from realtime.transports.daphne import DaphneTransport

        transport = DaphneTransport.recognise(receive, send, frame_bytes, deflate_bytes)
        if transport is not None:
            return transport
    if "uvicorn" in sys.modules:
        from realtime.transports.uvicorn import UvicornTransport

        uvicorn_transport = UvicornTransport.recognise(receive, send, frame_bytes, deflate_bytes)
        if uvicorn_transport is not None:
            return uvicorn_transport
    return AsgiTransport(receive, send)
