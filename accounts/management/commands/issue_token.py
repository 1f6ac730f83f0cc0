"""Print a token for a user, and nothing else: `TOKEN=$(manage.py issue_token surgeon_master)`."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import tokens
from accounts.models import User


class Command(BaseCommand):
    help = "Print an access token (JWT) for a user."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--seconds", type=int, help="How long it is good; default: as long as a login's."
        )

    def handle(self, *args: Any, username: str, seconds: int | None, **options: Any) -> None:
        if seconds is not None and seconds < 1:
            raise CommandError("--seconds must be 1 or more.")
        try:
            user = User.objects.get(username=username)
        except User.DoesNotExist:
            raise CommandError(f"There is no user {username!r}.") from None
        if not user.is_active:
            raise CommandError(f"{username!r} is not active: a token would be refused.")
        lifetime = timedelta(seconds=seconds) if seconds is not None else None
        self.stdout.write(tokens.issue_access(user, lifetime=lifetime))
