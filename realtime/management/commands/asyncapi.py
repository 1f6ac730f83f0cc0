"""`manage.py asyncapi`: print the AsyncAPI document of all WebSocket dialects."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from realtime.asyncapi.document import HOST, document


class Command(BaseCommand):
    help = "Prints what every WebSocket endpoint says and hears as an AsyncAPI 3 document (JSON)."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", type=Path, help="a file to write instead of printing")
        parser.add_argument("--host", default=HOST, help="where the server is reached")
        parser.add_argument("--protocol", choices=["ws", "wss"], default="ws")

    def handle(self, *args: Any, **options: Any) -> None:
        told = document(host=options["host"], protocol=options["protocol"])
        text = json.dumps(told, ensure_ascii=False, indent=2)
        if options["output"] is None:
            self.stdout.write(text)
            return
        try:
            options["output"].write_text(f"{text}\n")
        except OSError as error:
            raise CommandError(f"cannot write {options['output']}: {error.strerror}") from error
