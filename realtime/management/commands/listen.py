"""Hear what is told on some topics, one JSON line for each message, for as long as it runs."""

import asyncio
import contextlib
from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from realtime.client.errors import ClientError
from realtime.client.pubsub import RealtimeClient
from realtime.client.rest import RestClient


class Command(BaseCommand):
    """Miss nothing while the server is away; say so where something cannot be had any more."""

    help = __doc__
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("topics", nargs="+", metavar="TOPIC", help="chat.general, alerts.*, …")
        parser.add_argument("--since", help="a position: what was told after it comes first")
        parser.add_argument("--count", type=int, help="end after so many messages")
        parser.add_argument("--url", default="http://127.0.0.1:8000")
        parser.add_argument("--username", default="operator")
        parser.add_argument("--password", default="operator")

    def handle(self, *args: Any, **options: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            try:
                asyncio.run(self._listen(options))
            except ClientError as error:
                raise CommandError(str(error)) from None

    async def _listen(self, options: dict[str, Any]) -> None:
        left = options["count"]
        has_all = asyncio.Event()

        def tell(data: dict[str, Any]) -> None:
            nonlocal left
            if left is None or left > 0:
                self.stdout.write(msgspec.json.encode(data).decode())
                self.stdout.flush()
            if left is not None:
                left -= 1
                if left <= 0:
                    has_all.set()

        async with RestClient(options["url"], options["username"], options["password"]) as rest:
            client = RealtimeClient(options["url"], rest, position=options["since"])
            for kind in ("Broadcast", "Notification", "Presence", "DirectMessage"):
                client.on(kind, tell)
            client.on_gap(
                lambda gap: self.stderr.write(f"missed: {msgspec.json.encode(gap).decode()}")
            )
            running = client.start()
            try:
                await self._subscribe(client, options["topics"])
                ending = asyncio.ensure_future(has_all.wait())
                await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
                ending.cancel()
                if running.done():
                    running.result()
            finally:
                await client.close()

    async def _subscribe(self, client: RealtimeClient, topics: list[str]) -> None:
        subscribed = await client.subscribe(topics)
        for refusal in subscribed.refused:
            self.stderr.write(str(refusal))
        if not subscribed.topics:
            raise CommandError("none of these topics may be heard by this account.")
        self.stderr.write(f"listening to {', '.join(subscribed.topics)}")
