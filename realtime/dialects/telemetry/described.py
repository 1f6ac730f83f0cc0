"""What AsyncAPI says of this dialect. Source: seed 001."""

from typing import Any

import msgspec

from realtime.asyncapi.description import Description, Endpoint, Json, Message
from realtime.dialects.telemetry.schema import incoming, outgoing

CHANNELS = ("telemetry", "alerts", "devices", "system")
NOON, LATER = "2024-01-01T12:00:00Z", "2024-01-01T12:00:00.012345Z"
POSITION = "a1b2c3d4-42"
TOKEN = {"type": "string", "description": "The access token, if not in an `auth` message."}
# The same messages in MessagePack, in binary frames both ways.
PACKED = "vitalwire.msgpack"
SUBPROTOCOLS = (PACKED, "access_token.<JWT>", "realtime.v1")


def _message(shape: type[Any], *examples: Json, **more: Any) -> Message:
    """Return the message; its name is its `type`."""
    tag = str(shape.__struct_config__.tag)  # type: ignore[attr-defined]
    told = tuple({"type": tag, **example} for example in examples)
    return Message(name=tag, shape=shape, examples=told, **more)


# --- From clients and devices -----------------------------------------------------------------

VALUE = {"value": 23.5, "unit": "°C", "timestamp": NOON}
RECEIVED = (
    _message(
        incoming.Auth,
        {"token": "eyJhbGciOi…"},
        summary="Says who one is: the first message, and again with a newer token.",
        answers=("auth_response",),
    ),
    _message(
        incoming.Subscribe,
        {
            "channel": "telemetry",
            "device_id": 1,
            "filters": {"metrics": ["temperature", "humidity"], "frequency": "real-time"},
        },
        {"channel": "alerts", "severity": ["critical", "warning"], "since": POSITION},
        summary="Asks to hear a channel. Filters stand at the top or under `filters`.",
        answers=("subscribed", "error"),
    ),
    _message(
        incoming.Unsubscribe,
        {"channel": "telemetry", "device_id": 1},
        answers=("unsubscribed", "error"),
    ),
    _message(
        incoming.Telemetry,
        {"device_id": 1, "telemetry": {"temperature": VALUE}, "id": "a1"},
        summary="What a device measured. Acknowledged after it is stored.",
        answers=("telemetry_ack", "error"),
    ),
    _message(incoming.Heartbeat, {}, summary="A sign of life.", answers=("error",)),
    _message(
        incoming.Status,
        {"status": "maintenance", "reason": "cleaning"},
        summary="A device's own word on how it is.",
        answers=("error",),
    ),
    _message(
        incoming.CommandResponse,
        {"command_id": 7, "status": "executed", "result": {"took": 3}},
        summary="What became of a command.",
        answers=("error",),
    ),
    _message(
        incoming.Ping,
        {"timestamp": NOON},
        summary="Asks for a pong that repeats `timestamp`.",
        answers=("pong",),
    ),
    _message(
        incoming.Batch,
        {"messages": [{"type": "heartbeat"}, {"type": "ping", "timestamp": 1}]},
        summary="Messages that are done in order and answered together.",
        answers=("batch_response", "error"),
    ),
    _message(
        incoming.ErrorReport,
        {"error": "no such type", "message": {"type": "something_new"}},
        answers=("error",),
    ),
)

# --- From the server --------------------------------------------------------------------------

SENT = (
    _message(
        outgoing.AuthResponse,
        {"success": True},
        {
            "success": False,
            "error": "rate_limited",
            "message": "too many new connections: 10 of your 10 a minute are used",
            "limit": 10,
            "used": 10,
            "retry_after_ms": 41870,
        },
        summary="Whether one is let in; the first message that is no error.",
    ),
    _message(
        outgoing.Subscribed,
        {
            "channel": "alerts",
            "device_id": None,
            "filters": {"severity": ["critical", "warning"]},
            "position": POSITION,
            "complete": True,
        },
    ),
    _message(
        outgoing.Unsubscribed,
        {"channel": "telemetry", "device_id": 1, "filters": {}, "position": POSITION},
        summary="What is heard no longer; with a `reason` where nobody asked for it.",
    ),
    _message(
        outgoing.Pong,
        {"timestamp": NOON, "server_time": LATER},
        summary="The answer to a ping.",
    ),
    _message(
        outgoing.TelemetryAck,
        {"id": "a1", "device_id": 1, "accepted": 1},
        summary="A report is stored.",
    ),
    _message(
        outgoing.BatchResponse,
        {
            "results": [
                {"type": "accepted", "message": "heartbeat"},
                {"type": "pong", "timestamp": 1, "server_time": LATER},
            ]
        },
        summary="As many answers as the batch had messages, in their order.",
    ),
    _message(
        outgoing.Command,
        {"command_id": 7, "command": "restart", "parameters": {"delay": 5}},
        summary="To a device, once: something to do.",
    ),
    _message(
        outgoing.TelemetryUpdate,
        {"channel": "telemetry", "device_id": 1, "telemetry": {"temperature": VALUE}},
        summary="What a device measured.",
    ),
    _message(
        outgoing.AlertFrame,
        {
            "channel": "alerts",
            "alert_id": 123,
            "device_id": 1,
            "severity": "critical",
            "title": "High Temperature Alert",
            "message": "Temperature exceeds safe threshold",
            "timestamp": NOON,
            "metadata": {"threshold_value": 30.0, "actual_value": 32.5},
            "position": POSITION,
        },
        summary="A new alert.",
    ),
    _message(
        outgoing.AlertUpdate,
        {
            "channel": "alerts",
            "alert_id": 123,
            "device_id": 1,
            "status": "acknowledged",
            "by": "operator",
            "timestamp": NOON,
            "position": POSITION,
        },
        summary="An alert was acknowledged or resolved.",
    ),
    _message(
        outgoing.DeviceStatusUpdate,
        {
            "channel": "devices",
            "device_id": 1,
            "old_status": "online",
            "new_status": "offline",
            "timestamp": NOON,
            "reason": "Connection lost",
            "metadata": {"last_seen": NOON},
            "position": POSITION,
        },
        summary="A device changed its status.",
    ),
    _message(
        outgoing.SystemStatusUpdate,
        {
            "channel": "system",
            "metrics": {"cpu_usage": 45.2, "active_connections": 15},
            "timestamp": NOON,
        },
        summary="How the deployment fares.",
    ),
    _message(
        outgoing.GapFrame,
        {"channel": "telemetry", "from": NOON, "to": NOON, "skipped": 12},
    ),
    _message(
        outgoing.Error,
        {
            "code": "rate_limited",
            "message": "at most 100 messages a second: this one was dropped",
            "limit": 100,
            "retry_after_ms": 10,
        },
        summary="One message could not be done as asked. The conversation goes on.",
    ),
)


class Foreign(msgspec.Struct, tag_field="type", tag="Error"):
    """To a client of pubsub without a token: it has to bring one in the handshake."""

    data: dict[str, Any]


FOREIGN = Message(name="Error", shape=Foreign)

TELEMETRY = Description(
    name="telemetry",
    title="Telemetry",
    text=(
        "Devices report values and are told commands; people hear values, alerts and status. Who"
        f" offers the subprotocol {PACKED} speaks the same messages in MessagePack."
    ),
    endpoints=(
        Endpoint(
            name="telemetry",
            address="/ws",
            summary="Every channel, where the handshake has no credential: `auth` comes first.",
            received=RECEIVED,
            sent=(*SENT, FOREIGN),
            subprotocols=(PACKED,),
        ),
        Endpoint(
            name="device",
            address="/ws/device",
            summary="The same; a token in the handshake is taken too.",
            received=RECEIVED,
            sent=SENT,
            query={"token": TOKEN},
            subprotocols=SUBPROTOCOLS,
        ),
        Endpoint(
            name="channel",
            address="/ws/{channel}",
            summary="One channel, heard as soon as one is authenticated.",
            received=RECEIVED,
            sent=SENT,
            query={"token": TOKEN},
            subprotocols=SUBPROTOCOLS,
            parameters={"channel": {"enum": list(CHANNELS), "description": "The channel to hear."}},
        ),
    ),
)
