"""Surgeons at work and devices that measure: real clients of the running server."""

import asyncio
import contextlib
import random
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from realtime.client.connection import Backoff
from realtime.client.device import DeviceClient, refuse_commands
from realtime.client.errors import ClientError, LoginRefused
from realtime.client.motion import RATE, hands
from realtime.client.rest import DeviceItem, RestClient
from realtime.client.sensors import Machine, Sensors
from realtime.client.surgeon import operate

# The demo device that stands for the machine this runs on: its readings are real.
THIS_MACHINE = "THIS-MACHINE"
SETTLE_SECONDS = 5.0
BACKOFF = Backoff()


class Command(BaseCommand):
    """Stream operations over /ws/simulation and readings over /ws/device; one line for each."""

    help = __doc__
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--surgeries", type=int, help="operations at a time (1, or 0 with --devices)"
        )
        parser.add_argument("--devices", type=int, default=0, help="devices that report")
        parser.add_argument("--seconds", type=float, default=60.0, help="length of it all")
        parser.add_argument("--rate", type=int, default=RATE, help="frames a second")
        parser.add_argument(
            "--interval", type=float, default=2.0, help="seconds between two reports of a device"
        )
        parser.add_argument(
            "--forever",
            action="store_true",
            help="begin again after each one, also after a failure",
        )
        parser.add_argument("--url", default="http://127.0.0.1:8000")
        parser.add_argument("--username", default="surgeon_master")
        parser.add_argument("--password", default="justina2024")
        parser.add_argument(
            "--operator", default="operator", help="the account that may issue device tokens"
        )
        parser.add_argument("--operator-password", default="operator")
        parser.add_argument("--seed", type=int, help="the same number, the same hands and values")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["surgeries"] is None:
            options["surgeries"] = 0 if options["devices"] else 1
        with contextlib.suppress(KeyboardInterrupt):
            failed = asyncio.run(self._simulate(options))
            if failed:
                everyone = options["surgeries"] + options["devices"]
                raise CommandError(f"{failed} of {everyone} failed: see above.")

    async def _simulate(self, options: dict[str, Any]) -> int:
        """Let everybody work; return how many of them failed."""
        chance = random.Random(options["seed"])
        works: list[Awaitable[int]] = []
        if options["surgeries"]:
            works.append(self._surgeons(options, chance))
        if options["devices"]:
            works.append(self._devices(options, chance))
        return sum(await asyncio.gather(*works))

    # --- Surgeons ------------------------------------------------------------------------

    async def _surgeons(self, options: dict[str, Any], chance: random.Random) -> int:
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

    # --- Devices -------------------------------------------------------------------------

    async def _devices(self, options: dict[str, Any], chance: random.Random) -> int:
        """Let the first devices there are report, this machine before all others."""
        account = options["operator"], options["operator_password"]
        async with RestClient(options["url"], *account) as rest:
            try:
                devices = await _patiently(rest.devices)
            except ClientError as error:
                self.stderr.write(f"no devices: {error}")
                return 1
            devices.sort(key=lambda device: (device.device_id != THIS_MACHINE, device.id))
            chosen = devices[: options["devices"]]
            if len(chosen) < options["devices"]:
                self.stderr.write(f"there are {len(chosen)} devices: add some in the admin")
            reporting = (
                self._device(rest, device, options, chance.getrandbits(32)) for device in chosen
            )
            return (await asyncio.gather(*reporting)).count(False)

    async def _device(
        self, rest: RestClient, device: DeviceItem, options: dict[str, Any], seed: int
    ) -> bool:
        """Report at the interval until the time is over; tell whether all was acknowledged."""
        is_real = device.device_id == THIS_MACHINE
        source = Machine() if is_real else Sensors(device.device_type, seed=seed)
        client = DeviceClient(
            options["url"],
            DeviceTokens(rest, device.id),
            device_id=device.id,
            on_command=refuse_commands if is_real else _obey,
        )
        running = asyncio.create_task(client.run())
        reports = 0
        deadline = time.monotonic() + options["seconds"]
        while (options["forever"] or time.monotonic() < deadline) and not running.done():
            client.report(source.read())
            reports += 1
            await asyncio.wait({running}, timeout=options["interval"])
        await _settle(client, running)
        self.stdout.write(f"{device.name}: {reports} reports, {client.unacknowledged} not answered")
        return not client.unacknowledged


class DeviceTokens:
    """Tokens of one device, issued to the account that manages it."""

    def __init__(self, rest: RestClient, device_id: int) -> None:
        self._rest = rest
        self._device_id = device_id
        self._token = ""

    def __repr__(self) -> str:
        return f"<DeviceTokens of {self._device_id}>"

    async def token(self) -> str:
        if not self._token:
            self._token = await self._rest.issue_device_token(self._device_id)
        return self._token

    def forget_token(self) -> None:
        self._token = ""


async def _patiently(ask: Callable[[], Awaitable[list[DeviceItem]]]) -> list[DeviceItem]:
    """Return the answer, also of a server that is not there yet. Raises what is final."""
    failures = 0
    while True:
        try:
            return await ask()
        except ClientError as error:
            if error.is_final:
                raise
            await asyncio.sleep(BACKOFF.delay(failures, at_least=error.retry_after))
        failures += 1


async def _obey(command: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A simulated device does whatever it is told."""
    return {"done": command}


async def _settle(client: DeviceClient, running: "asyncio.Task[None]") -> None:
    """Wait a moment for the last answers, then leave."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0 if running.done() else SETTLE_SECONDS):
            await client.settled()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
