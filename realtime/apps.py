"""Connects what happens (signals) with who is told (the journal)."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RealtimeConfig(AppConfig):
    name = "realtime"
    verbose_name = "Realtime"

    def ready(self) -> None:
        from realtime import bridge, journal

        bridge.connect()
        # After a flush as well, which takes the head that the migration made.
        post_migrate.connect(journal.make_head, sender=self, dispatch_uid="journal.make_head")
