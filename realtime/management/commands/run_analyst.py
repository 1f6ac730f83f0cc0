"""A reference AI service: hears of finished operations, scores them, posts the analysis."""

import asyncio
import contextlib
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand

from devices.scoring import assess
from realtime.client.analyst import Analyst
from realtime.client.rest import RestClient


class Command(BaseCommand):
    """Work until stopped; comes back by itself whenever the server does."""

    help = __doc__
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000")
        parser.add_argument("--username", default=settings.IA_USERNAME)
        parser.add_argument(
            "--password",
            default=settings.IA_PASSWORD,
            help="better given as IA_PASSWORD: a command line is seen by others",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(self._work(options))

    async def _work(self, options: dict[str, Any]) -> None:
        async with RestClient(options["url"], options["username"], options["password"]) as rest:
            await Analyst(rest, assess, on_analysed=self._tell).run()

    def _tell(self, surgery_id: UUID, score: float) -> None:
        self.stdout.write(f"{surgery_id} analysed: {score:.1f}")
