"""The examples of docs/protocols/telemetry.md work when they are copied."""

import json
from datetime import UTC, datetime

import pytest
from django.conf import settings

from realtime.dialects.telemetry.schema import Code, Telemetry, measured, parse
from realtime.dialects.telemetry.subscriptions import wish_of

PATH = settings.BASE_DIR / "docs" / "protocols" / "telemetry.md"
TEXT = PATH.read_text()
EXAMPLES = [line for line in TEXT.splitlines() if line.startswith('{"type":')]
FROM_CLIENTS = {
    "auth",
    "subscribe",
    "unsubscribe",
    "ping",
    "batch",
    "telemetry",
    "heartbeat",
    "status",
    "command_response",
    "error_report",
}
TO_CLIENTS = {
    "auth_response",
    "subscribed",
    "unsubscribed",
    "telemetry_update",
    "alert",
    "alert_update",
    "device_status_update",
    "system_status_update",
    "gap",
    "telemetry_ack",
    "command",
    "pong",
    "batch_response",
    "error",
}


def test_every_message_has_an_example() -> None:
    assert {json.loads(line)["type"] for line in EXAMPLES} == FROM_CLIENTS | TO_CLIENTS


@pytest.mark.parametrize(
    "line", [line for line in EXAMPLES if json.loads(line)["type"] in FROM_CLIENTS]
)
def test_what_a_client_may_copy_is_understood(line: str) -> None:
    message = parse(line)
    assert len(line.encode()) <= settings.DIALECT_LIMITS["telemetry"].message_bytes
    if isinstance(message, Telemetry):
        measured(message, datetime.now(UTC))
    elif line.startswith('{"type":"subscribe"'):
        wish_of(message)  # type: ignore[arg-type]


def test_every_code_is_explained() -> None:
    assert [code for code in Code if f"`{code}`" not in TEXT] == []
