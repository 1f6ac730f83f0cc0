"""Typed reading of environment variables; a wrong value stops the start by name.

Only `project/settings.py` calls this module.
"""

import json
import os
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

DATABASE_SCHEMES = {"sqlite", "postgres", "postgresql"}

_reader = environ.Env()


def load_file(path: Path) -> None:
    """Take variables from `path` when it exists; the real environment wins."""
    if path.is_file():
        environ.Env.read_env(str(path), overwrite=False)


def text(name: str, default: str = "") -> str:
    """Return the variable's text, stripped."""
    return os.environ.get(name, default).strip()


def boolean(name: str, *, default: bool) -> bool:
    """Return a switch. Raises ImproperlyConfigured for anything but on/off words."""
    raw = text(name, str(default)).lower()
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off", ""}:
        return False
    raise ImproperlyConfigured(f"{name}={raw!r} is not a switch: use 1 or 0.")


def integer(name: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
    """Return a whole number between `least` and `most`, both allowed."""
    raw = text(name, str(default))
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={raw!r} is not a whole number.") from None
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name}={value} is out of range: use {least} to {most}.")
    return value


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list without its empty items."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def choice(name: str, default: str, allowed: set[str]) -> str:
    """Return one of `allowed`."""
    raw = text(name, default)
    if raw not in allowed:
        raise ImproperlyConfigured(f"{name}={raw!r} is unknown: use one of {sorted(allowed)}.")
    return raw


def json_object(name: str) -> dict[str, Any]:
    """Return a JSON object, empty by default. The value, which may hold a secret, is not shown."""
    try:
        value = json.loads(text(name) or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ImproperlyConfigured(f'{name} is not JSON of the form {{"key": "value"}}.')
    return value


def secret(name: str, *, debug: bool, bytes_least: int = 32) -> str:
    """Return a secret of at least `bytes_least` bytes.

    With `debug` a missing one is replaced by a fixed development value; without it a
    missing or short one stops the start. The value itself is never in the message.
    """
    value = text(name)
    if not value and debug:
        return f"development-only-{name.lower()}-never-use-this-in-production"
    if len(value.encode()) < bytes_least:
        raise ImproperlyConfigured(
            f"{name} is missing or shorter than {bytes_least} bytes: set it, for example to the "
            'output of  python -c "import secrets; print(secrets.token_urlsafe(64))".'
        )
    return value


def database(name: str, default: str) -> dict[str, object]:
    """Return Django's database settings for a `sqlite:///` or `postgres://` URL."""
    raw = text(name, default)
    scheme = raw.split(":", 1)[0]
    # Asked before django-environ sees it: its warning would show the password.
    if scheme not in DATABASE_SCHEMES:
        raise ImproperlyConfigured(
            f"{name} starts with {scheme!r}: use sqlite:///path or postgres://user@host/name."
        )
    try:
        config: dict[str, object] = _reader.db_url_config(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is not a URL: its port is no number.") from None
    return config
