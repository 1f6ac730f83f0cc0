"""The JSON examples of document 003, as they stand there."""

from typing import Any

Json = dict[str, Any]

PAYLOAD = {"message": "Hello everyone!", "sender": "user123", "metadata": {"mood": "happy"}}
PRIVATE = {"message": "Private message", "attachments": []}
METADATA = {"priority": "high", "ttl": 3600, "encryption": "aes256", "compression": "gzip"}

# --- From the client ---------------------------------------------------------------------------

PING: Json = {"type": "Ping", "data": {"timestamp": 1234567890}}
SUBSCRIBE: Json = {
    "type": "Subscribe",
    "data": {"topics": ["notifications", "chat.general", "updates.*"]},
}
UNSUBSCRIBE: Json = {"type": "Unsubscribe", "data": {"topics": ["chat.general"]}}
BROADCAST: Json = {
    "type": "Broadcast",
    "data": {"topic": "chat.general", "payload": PAYLOAD},
    "id": "msg_123456",
}
DIRECT_MESSAGE: Json = {
    "type": "DirectMessage",
    "data": {"target_user": "user456", "payload": PRIVATE},
    "id": "dm_789012",
}
CUSTOM: Json = {
    "type": "X-CustomAction",
    "data": {"action": "special_operation", "parameters": {}},
}
# The document leaves out what stands under `data`.
WITH_METADATA: Json = {"type": "Broadcast", "data": BROADCAST["data"], "metadata": METADATA}

# --- From the server ---------------------------------------------------------------------------

PONG: Json = {"type": "Pong", "data": {"timestamp": 1234567890}}
SUBSCRIBED: Json = {
    "type": "Status",
    "data": {
        "status": "subscribed",
        "details": {
            "topics": ["notifications", "chat.general", "updates.*"],
            "active_subscriptions": 3,
        },
    },
}
UNSUBSCRIBED: Json = {
    "type": "Status",
    "data": {
        "status": "unsubscribed",
        "details": {"topics": ["chat.general"], "active_subscriptions": 2},
    },
}
BROADCAST_ACK: Json = {
    "type": "Ack",
    "data": {"message_id": "msg_123456", "status": "delivered", "recipients": 42},
}
DIRECT_ACK: Json = {
    "type": "Ack",
    "data": {
        "message_id": "dm_789012",
        "status": "delivered",
        "delivered_to": ["conn_abc123", "conn_def456"],
    },
}
OFFLINE: Json = {
    "type": "Error",
    "data": {
        "code": 404,
        "message": "User user456 not found or not connected",
        "details": {"message_id": "dm_789012", "queued": True},
    },
}
WELCOME: Json = {
    "type": "Status",
    "data": {
        "status": "connected",
        "details": {
            "connection_id": "550e8400-e29b-41d4-a716-446655440000",
            "server_time": 1234567890,
            "protocol_version": "1.0",
            "features": ["broadcast", "direct_message", "presence", "history"],
        },
    },
}
BROADCAST_DELIVERY: Json = {
    "type": "Broadcast",
    "data": {
        "topic": "chat.general",
        "payload": PAYLOAD,
        "metadata": {"sent_at": 1234567890, "message_id": "broadcast_123456"},
    },
}
DIRECT_DELIVERY: Json = {
    "type": "DirectMessage",
    "data": {
        "from_user": "user123",
        "payload": PRIVATE,
        "metadata": {"sent_at": 1234567890, "message_id": "dm_123456"},
    },
}
NOTIFICATION: Json = {
    "type": "Notification",
    "data": {
        "level": "info",
        "title": "Maintenance Notice",
        "message": "System will undergo maintenance in 1 hour",
        "actions": [{"label": "Learn More", "url": "https://status.example.com"}],
    },
}
PRESENCE: Json = {
    "type": "Presence",
    "data": {
        "user_id": "user789",
        "status": "online",
        "last_seen": 1234567890,
        "metadata": {"device": "web", "location": "New York"},
    },
}
ERROR: Json = {
    "type": "Error",
    "data": {
        "code": 400,
        "message": "Human-readable error message",
        "details": {"field": "additional", "context": "information"},
    },
}
TOKEN_EXPIRING: Json = {
    "type": "AuthStatus",
    "data": {"status": "token_expiring", "expires_at": 1234567890, "refresh_required": True},
}
BINARY_RECEIVED: Json = {
    "type": "Status",
    "data": {
        "status": "binary_received",
        "details": {"size": 1024, "type": "file_transfer", "checksum": "sha256:..."},
    },
}

FROM_CLIENT = [
    PING,
    SUBSCRIBE,
    UNSUBSCRIBE,
    BROADCAST,
    DIRECT_MESSAGE,
    CUSTOM,
    WITH_METADATA,
]
FROM_SERVER = [
    PONG,
    SUBSCRIBED,
    UNSUBSCRIBED,
    BROADCAST_ACK,
    DIRECT_ACK,
    OFFLINE,
    WELCOME,
    BROADCAST_DELIVERY,
    DIRECT_DELIVERY,
    NOTIFICATION,
    PRESENCE,
    ERROR,
    TOKEN_EXPIRING,
    BINARY_RECEIVED,
]
EXAMPLES = FROM_CLIENT + FROM_SERVER
