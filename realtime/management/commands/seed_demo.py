"""Accounts, devices and rules to try everything with. Safe to run again and again."""

from argparse import ArgumentParser
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts import roles
from accounts.models import User
from devices.demo import create_demo_devices


class DemoUser(NamedTuple):
    """Somebody whose password everybody knows."""

    username: str
    password: str
    role: str


DEMO_USERS = (
    DemoUser("admin", "admin", roles.ADMIN),
    DemoUser("operator", "operator", roles.OPERATOR),
    DemoUser("surgeon_master", "justina2024", roles.SURGEON),
    DemoUser("ia_justina", "ia_secret_2024", roles.AI),
    DemoUser("root", "root", roles.ADMIN),
    DemoUser("guest", "guest", roles.MEMBER),
)


class Command(BaseCommand):
    """Create the demo accounts, devices and rules that are missing.

    What exists keeps what was made of it.
    """

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--yes-in-production",
            action="store_true",
            help="create accounts with known passwords although DEBUG is off",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG and not options["yes_in_production"]:
            raise CommandError(
                "DEBUG is off, and these accounts have passwords that everybody knows. "
                "Add --yes-in-production if you mean it."
            )
        created = create_demo_users() + create_demo_devices(now=timezone.now())
        self.stdout.write(f"Created: {', '.join(created) or 'nothing, all are there'}.")


@transaction.atomic
def create_demo_users() -> list[str]:
    """Create the demo accounts that do not exist; return their names."""
    names = [demo.username for demo in DEMO_USERS]
    present = set(User.objects.filter(username__in=names).values_list("username", flat=True))
    missing = [demo for demo in DEMO_USERS if demo.username not in present]
    for demo in missing:
        User.objects.create_user(demo.username, demo.password, role=demo.role)
    return [demo.username for demo in missing]
