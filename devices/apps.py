"""Connects what is saved with what it means."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
    verbose_name = "Devices and surgeries"

    # What operators do in the admin beyond looking; handed out by accounts/receivers.py.
    operator_permissions = frozenset(
        {
            "add_device",
            "change_device",
            "add_alertrule",
            "change_alertrule",
            "delete_alertrule",
            "change_alert",
            "add_command",
        }
    )

    def ready(self) -> None:
        from devices import receivers

        receivers.connect()
