"""The Python client: asyncio, `websockets` and `httpx`; imports `realtime.core` only, no Django."""
