"""Connects what is saved with what it means."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
    verbose_name = "Devices and surgeries"

    def ready(self) -> None:
        from devices import receivers

        receivers.connect()
