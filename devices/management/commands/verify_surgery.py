"""`manage.py verify_surgery ID`: prove that a stored trajectory is the one that was recorded."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from devices.models import Surgery
from devices.verification import verify


class Command(BaseCommand):
    help = "Proves the hash chain of an operation; names the first bad chunk and exits with 1."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("surgery_id", type=UUID, metavar="ID")

    def handle(self, *, surgery_id: UUID, **_: Any) -> None:
        surgery = Surgery.objects.filter(pk=surgery_id).first()
        if surgery is None:
            raise CommandError(f"There is no operation {surgery_id}.")
        proof = verify(surgery)
        if not proof.holds:
            raise CommandError(
                f"Bad chunk {proof.bad_chunk}: {proof.problem}."
                f" The {proof.chunks} chunks before it hold."
            )
        self.stdout.write(
            f"{surgery_id} ({surgery.status}): {proof.chunks} chunks with {proof.movements} "
            f"movements hold, digest {proof.digest}"
        )
