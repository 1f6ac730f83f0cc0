"""Fills an empty database for a measurement: tables, a hundred surgeons, an AI, an operator.

Run as `python -m bench.people FOLDER`; leaves their tokens in FOLDER, one per line.
"""

import sys
from pathlib import Path

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from accounts import roles  # noqa: E402
from accounts.models import User  # noqa: E402
from accounts.tokens import issue_access  # noqa: E402

SURGEONS = 100


def main(folder: Path) -> None:
    """Create everything and write the token files."""
    call_command("migrate", verbosity=0)
    surgeons = [_token(f"surgeon_{number}", roles.SURGEON) for number in range(SURGEONS)]
    _write(folder / "surgeons.tokens", surgeons)
    _write(folder / "analyst.tokens", [_token("analyst", roles.AI)])
    _write(folder / "operator.tokens", [_token("operator", roles.OPERATOR)])


def _token(username: str, role: str) -> str:
    return issue_access(User.objects.create_user(username, role=role))


def _write(path: Path, tokens: list[str]) -> None:
    path.write_text("".join(f"{token}\n" for token in tokens))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
