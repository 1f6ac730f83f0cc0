"""The publish/subscribe protocol: connect, subscribe, publish, and miss nothing over a reconnect.

The same behaviour and names as `realtime/static/realtime/client.js`. Imports `realtime.core` and
`realtime.client` only.
"""

from realtime.client.pubsub.batcher import MessageBatcher
from realtime.client.pubsub.client import RealtimeClient
from realtime.client.pubsub.debugger import ConnectionDebugger
from realtime.client.pubsub.frames import BinaryMessage, bytes_of, decode_frame, encode_frame
from realtime.client.pubsub.monitor import ConnectionMonitor
from realtime.client.pubsub.pool import ConnectionPool

__all__ = [
    "BinaryMessage",
    "ConnectionDebugger",
    "ConnectionMonitor",
    "ConnectionPool",
    "MessageBatcher",
    "RealtimeClient",
    "bytes_of",
    "decode_frame",
    "encode_frame",
]
