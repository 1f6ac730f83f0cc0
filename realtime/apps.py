"""Connects what happens (signals) with who is told (the journal)."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    name = "realtime"
    verbose_name = "Realtime"

    def ready(self) -> None:
        from realtime import bridge

        bridge.connect()
