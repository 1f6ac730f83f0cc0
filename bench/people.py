"""Fills an empty database for a measurement: tables, people, a hundred devices, some rules.

Run as `python -m bench.people FOLDER`; leaves their tokens in FOLDER, one per line, and the
numbers of the devices in the same order as theirs.
"""

import sys
from pathlib import Path
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts import roles  # noqa: E402
from accounts.models import User  # noqa: E402
from accounts.tokens import issue_access  # noqa: E402
from devices.models import AlertRule  # noqa: E402
from devices.services.devices import issue_device_token, register_device  # noqa: E402

SURGEONS = 100
DEVICES = 100


def main(folder: Path) -> None:
    """Create everything and write the token files."""
    call_command("migrate", verbosity=0)
    surgeons = [_token(f"surgeon_{number}", roles.SURGEON) for number in range(SURGEONS)]
    _write(folder / "surgeons.tokens", surgeons)
    _write(folder / "analyst.tokens", [_token("analyst", roles.AI)])
    _write(folder / "operator.tokens", [_token("operator", roles.OPERATOR)])
    # The first: its number is 1.
    _write(folder / "device.tokens", [_device("alone", "other")[1]])
    devices = [_device(str(number), "sensor") for number in range(DEVICES)]
    for device_id, _ in devices:
        _rule(device_id=device_id)
    _write(folder / "devices.ids", [str(device_id) for device_id, _ in devices])
    _write(folder / "devices.tokens", [token for _, token in devices])
    _rule(device_type="sensor")


def _token(username: str, role: str) -> str:
    return issue_access(User.objects.create_user(username, role=role))


def _device(name: str, device_type: str) -> tuple[int, str]:
    """Put a device into service; return its number and its token."""
    now = timezone.now()
    device = register_device(
        name=f"Sensor {name}", external_id=f"S-{name}", device_type=device_type, now=now
    )
    return device.pk, issue_device_token(device.pk, now=now)[1]


def _rule(**audience: Any) -> None:
    AlertRule.objects.create(
        name="Too warm", metric="temperature", condition="gt", threshold=1000.0, **audience
    )


def _write(path: Path, tokens: list[str]) -> None:
    path.write_text("".join(f"{token}\n" for token in tokens))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
