"""`manage.py disconnect`: end connections of the running processes."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from realtime.connections import end_connection, end_connections_of


class Command(BaseCommand):
    help = (
        "Has one connection, or all of a user's, closed with 1008 in every process. Who is"
        " disconnected may connect again: to keep them out, switch the account off."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--user", metavar="USERNAME")
        whom.add_argument("--connection", metavar="ID", help="as the admin and the logs name it")

    def handle(self, *, user: str | None, connection: str | None, **_: Any) -> None:
        by = f"shell: {getpass.getuser()}"
        if connection is not None:
            end_connection(connection, by=by)
            return
        account = User.objects.filter(username=user).first()
        if account is None:
            raise CommandError(f"There is no user {user}.")
        end_connections_of(account.pk, by=by)
