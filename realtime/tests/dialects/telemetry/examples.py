"""The JSON examples of document 001, as they stand there, and what the issue adds to them."""

AUTH = '{"type": "auth", "token": "jwt-token-string"}'
SUBSCRIBE = """{
  "type": "subscribe",
  "channel": "telemetry",
  "device_id": 1,
  "filters": {
    "metrics": ["temperature", "humidity"]
  }
}"""
UNSUBSCRIBE = '{"type": "unsubscribe", "channel": "telemetry", "device_id": 1}'
PING = '{"type": "ping", "timestamp": "2024-01-01T12:00:00Z"}'

# What the document's examples of a subscription send, one for each channel.
SUBSCRIBE_TELEMETRY = """{"type":"subscribe","channel":"telemetry","device_id":1,
 "filters":{"metrics":["temperature","humidity"],"frequency":"real-time"}}"""
SUBSCRIBE_ALERTS = """{"type":"subscribe","channel":"alerts",
 "filters":{"severity":["critical","warning"],"device_id":1}}"""
SUBSCRIBE_DEVICES = """{"type":"subscribe","channel":"devices",
 "filters":{"device_id":[1,2,3],"status_types":["online","offline","warning"]}}"""
SUBSCRIBE_SYSTEM = """{"type":"subscribe","channel":"system",
 "filters":{"metrics":["cpu_usage","memory_usage","active_connections"],"frequency":"30s"}}"""
# Its JavaScript class writes filters at the top.
SUBSCRIBE_FLAT = '{"type":"subscribe","channel":"alerts","severity":["critical","warning"]}'
BATCH = '{"type":"batch","messages":[{"type":"ping"},{"type":"ping"}]}'

TELEMETRY = """{"type":"telemetry","device_id":1,
 "telemetry":{"temperature":{"value":23.5,"unit":"°C","timestamp":"2024-01-01T12:00:00Z"}},
 "id":"a1"}"""
HEARTBEAT = '{"type":"heartbeat"}'
STATUS = '{"type":"status","status":"maintenance","reason":"cleaning"}'
COMMAND_RESPONSE = '{"type":"command_response","command_id":7,"status":"executed","result":{}}'
ERROR_REPORT = '{"type":"error_report","error":"no such type","message":{"type":"x"}}'

TELEMETRY_UPDATE = {
    "type": "telemetry_update",
    "channel": "telemetry",
    "device_id": 1,
    "telemetry": {
        "temperature": {"value": 23.5, "unit": "°C", "timestamp": "2024-01-01T12:00:00Z"},
        "humidity": {"value": 45.2, "unit": "%", "timestamp": "2024-01-01T12:00:00Z"},
    },
}
ALERT = {
    "type": "alert",
    "channel": "alerts",
    "alert_id": 123,
    "device_id": 1,
    "severity": "critical",
    "title": "High Temperature Alert",
    "message": "Temperature exceeds safe threshold",
    "timestamp": "2024-01-01T12:00:00Z",
    "metadata": {"threshold_value": 30.0, "actual_value": 32.5},
}
DEVICE_STATUS_UPDATE = {
    "type": "device_status_update",
    "channel": "devices",
    "device_id": 1,
    "old_status": "online",
    "new_status": "offline",
    "timestamp": "2024-01-01T12:00:00Z",
    "reason": "Connection lost",
    "metadata": {"last_seen": "2024-01-01T11:45:00Z"},
}
SYSTEM_STATUS_UPDATE = {
    "type": "system_status_update",
    "channel": "system",
    "metrics": {
        "cpu_usage": 45.2,
        "memory_usage": 67.8,
        "disk_usage": 23.1,
        "active_connections": 15,
    },
    "timestamp": "2024-01-01T12:00:00Z",
}
