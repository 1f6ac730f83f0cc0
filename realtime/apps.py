"""Connects what happens (signals) with who is told (the journal)."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RealtimeConfig(AppConfig):
    name = "realtime"
    verbose_name = "Realtime"
    # What operators may do besides looking: see `accounts.receivers`.
    operator_permissions = frozenset({"add_notification", "end_connection"})

    # Whose private files there are, and what they are called.
    administrator_permissions = frozenset({"view_storedfile", "view_filearea", "view_loosecontent"})

    def ready(self) -> None:
        from realtime import bridge, files, journal

        bridge.connect()
        files.connect()
        # After a flush as well, which takes the head that the migration made.
        post_migrate.connect(journal.make_head, sender=self, dispatch_uid="journal.make_head")
