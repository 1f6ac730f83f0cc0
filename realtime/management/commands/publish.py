"""Say something on a topic, and print what became of it as JSON."""

import asyncio
from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from realtime.client.errors import ClientError
from realtime.client.pubsub import RealtimeClient
from realtime.client.rest import RestClient


class Command(BaseCommand):
    """Print the server's answer as JSON once the message is committed and delivered."""

    help = __doc__
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("topic", metavar="TOPIC")
        parser.add_argument("payload", metavar="PAYLOAD", help="JSON; anything else is a text")
        parser.add_argument("--priority", choices=["low", "normal", "high"])
        parser.add_argument("--ttl", type=int, help="seconds after which nobody is told any more")
        parser.add_argument(
            "--timeout", type=float, default=30.0, help="seconds to wait for a server that is away"
        )
        parser.add_argument("--url", default="http://127.0.0.1:8000")
        parser.add_argument("--username", default="operator")
        parser.add_argument("--password", default="operator")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            answer = asyncio.run(self._publish(options))
        except TimeoutError:
            raise CommandError(f"no answer in {options['timeout']} s.") from None
        except ClientError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(msgspec.json.encode(answer).decode())

    async def _publish(self, options: dict[str, Any]) -> dict[str, Any]:
        metadata = {
            name: options[name] for name in ("priority", "ttl") if options[name] is not None
        }
        async with (
            asyncio.timeout(options["timeout"]),
            RestClient(options["url"], options["username"], options["password"]) as rest,
            RealtimeClient(options["url"], rest) as client,
        ):
            payload = _payload_of(options["payload"])
            return await client.publish(options["topic"], payload, metadata=metadata or None)


def _payload_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
