"""Connects the receivers; tells the schema generator how tokens are sent."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import receivers  # noqa: F401
        from accounts.api import schema  # noqa: F401
