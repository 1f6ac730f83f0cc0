"""What a server can do beyond ASGI: close with any code, ready-made frames, back-pressure."""

from realtime.transports.base import Closed, Transport
from realtime.transports.choose import transport_for

__all__ = ["Closed", "Transport", "transport_for"]
