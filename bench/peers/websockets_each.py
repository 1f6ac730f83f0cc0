"""The `websockets` library's own way to fan out: `broadcast`, which compresses for each client.

Run as `python -m bench.peers.websockets_each PORT`; with its defaults, compression included.
"""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

LISTEN = "/listen"


async def main(port: int) -> None:
    """Tell everyone who listens what anybody says, unread."""
    listeners: set[ServerConnection] = set()

    async def on_client(client: ServerConnection) -> None:
        if client.request is not None and client.request.path == LISTEN:
            listeners.add(client)
        async for message in client:
            broadcast(listeners, message)
        listeners.discard(client)

    async with serve(on_client, "127.0.0.1", port):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
