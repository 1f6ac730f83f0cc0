"""Surgeons at work: real clients of the running server, with plausible hands."""

import asyncio
import contextlib
import random
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from realtime.client.connection import Backoff
from realtime.client.errors import ClientError, LoginRefused
from realtime.client.motion import RATE, hands
from realtime.client.rest import RestClient
from realtime.client.surgeon import operate

BACKOFF = Backoff()


class Command(BaseCommand):
    """Stream operations over /ws/simulation; one line for each when it is stored."""

    help = __doc__
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--surgeries", type=int, default=1, help="operations at a time")
        parser.add_argument("--seconds", type=float, default=60.0, help="length of an operation")
        parser.add_argument("--rate", type=int, default=RATE, help="frames a second")
        parser.add_argument(
            "--forever",
            action="store_true",
            help="begin again after each one, also after a failure",
        )
        parser.add_argument("--url", default="http://127.0.0.1:8000")
        parser.add_argument("--username", default="surgeon_master")
        parser.add_argument("--password", default="justina2024")
        parser.add_argument("--seed", type=int, help="the same number, the same hands")

    def handle(self, *args: Any, **options: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            failed = asyncio.run(self._simulate(options))
            if failed:
                raise CommandError(f"{failed} of {options['surgeries']} operations failed.")

    async def _simulate(self, options: dict[str, Any]) -> int:
        """Let all surgeons operate; return how many of them failed."""
        chance = random.Random(options["seed"])
        async with RestClient(options["url"], options["username"], options["password"]) as rest:
            surgeons = (
                self._surgeon(rest, options, random.Random(chance.random()))
                for _ in range(options["surgeries"])
            )
            return (await asyncio.gather(*surgeons)).count(False)

    async def _surgeon(
        self, rest: RestClient, options: dict[str, Any], chance: random.Random
    ) -> bool:
        """Operate once, or for ever; tell whether the last operation was stored.

        What fails is begun again after a while, except a login: a person has to mend that.
        """
        failures = 0
        while True:
            error = await self._operate(rest, options, seed=chance.getrandbits(32))
            if not options["forever"] or isinstance(error, LoginRefused):
                return error is None
            if error is None:
                failures = 0
                continue
            await asyncio.sleep(BACKOFF.delay(failures, at_least=error.retry_after))
            failures += 1

    async def _operate(
        self, rest: RestClient, options: dict[str, Any], *, seed: int
    ) -> ClientError | None:
        """Stream one operation; return what prevented it from being stored."""
        movements = hands(
            seed=seed,
            seconds=options["seconds"],
            started_ms=int(time.time() * 1000),
            rate=options["rate"],
        )
        began = time.monotonic()
        try:
            surgery_id = await operate(rest, movements, rate=options["rate"])
        except ClientError as error:
            self.stderr.write(f"operation failed: {error}")
            return error
        took = time.monotonic() - began
        self.stdout.write(f"{surgery_id} saved: {len(movements)} movements in {took:.1f} s")
        return None
