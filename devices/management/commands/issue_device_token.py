"""Print a token for a device and nothing else: `TOKEN=$(manage.py issue_device_token TEMP-001)`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from devices.models import Device
from devices.services.devices import issue_device_token
from realtime.core.errors import Failure


class Command(BaseCommand):
    help = "Print a token (JWT) for a device in service; make its account when it has none."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("device", help="Its device id, such as TEMP-001, or its number.")
        parser.add_argument(
            "--revoke-others", action="store_true", help="End the tokens that it has."
        )

    def handle(self, *args: Any, device: str, revoke_others: bool, **options: Any) -> None:
        try:
            _, token = issue_device_token(
                _number_of(device), now=timezone.now(), revokes_others=revoke_others
            )
        except Failure as error:
            raise CommandError(f"{device!r}: {error}.") from error
        self.stdout.write(token)


def _number_of(device: str) -> int:
    """Return the number of a device in service; its device id is tried first."""
    devices = Device.objects.filter(is_active=True)
    found = devices.filter(external_id=device).first()
    if found is None and device.isascii() and device.isdigit():
        found = devices.filter(pk=int(device[:18])).first()
    if found is None:
        raise CommandError(f"There is no device {device!r} in service.")
    return found.pk
