"""`manage.py prune`: roll old readings up and delete what is too old to keep."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from realtime.watch import prune


class Command(BaseCommand):
    help = (
        "Rolls readings up by the hour and deletes those older than VITALWIRE_READING_DAYS,"
        " roll-ups older than VITALWIRE_ROLLUP_DAYS, events older than VITALWIRE_JOURNAL_DAYS,"
        " messages that waited for their user longer than VITALWIRE_QUEUED_DAYS, and which"
        " messages were sent more than a day ago."
        " A running server does so by itself, every hour."
    )

    def handle(self, **_: Any) -> None:
        for what, count in prune(now=timezone.now()).items():
            self.stdout.write(f"{count} {what} deleted")
