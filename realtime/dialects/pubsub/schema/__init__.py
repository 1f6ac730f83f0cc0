"""The pubsub dialect's messages. Source: seed 003; imports `realtime.core` only.

All times of this dialect are milliseconds since 1970.
"""

from realtime.dialects.pubsub.schema.binary import (
    BinaryMessage,
    Kind,
    PubsubBinaryDialect,
    encode_binary,
    parse_binary,
    payload_of_content,
)
from realtime.dialects.pubsub.schema.incoming import (
    Auth,
    History,
    Incoming,
    Ping,
    Presence,
    Topics,
    id_of,
    moment_of,
    parse,
    parse_data,
)
from realtime.dialects.pubsub.schema.outgoing import (
    FEATURES,
    PROTOCOL_VERSION,
    Limits,
    ack,
    auth_status,
    binary_received,
    connected,
    error,
    extension,
    history,
    milliseconds,
    not_shown,
    pong,
    status,
)
from realtime.dialects.pubsub.schema.rendering import PubsubDialect

__all__ = [
    "FEATURES",
    "PROTOCOL_VERSION",
    "Auth",
    "BinaryMessage",
    "History",
    "Incoming",
    "Kind",
    "Limits",
    "Ping",
    "Presence",
    "PubsubBinaryDialect",
    "PubsubDialect",
    "Topics",
    "ack",
    "auth_status",
    "binary_received",
    "connected",
    "encode_binary",
    "error",
    "extension",
    "history",
    "id_of",
    "milliseconds",
    "moment_of",
    "not_shown",
    "parse",
    "parse_binary",
    "parse_data",
    "payload_of_content",
    "pong",
    "status",
]
