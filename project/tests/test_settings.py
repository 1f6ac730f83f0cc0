"""`.env.example` tells the truth about project/settings.py: every variable, every default."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from project import env

BASE_DIR = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)
READ_BY_MAKE = {"HOST", "PORT", "TEST_DATABASE_URL", "TEST_REDIS_URL", "REQUIRE"}
# As in production: what has no default there.
GIVEN = {"DEBUG": "0", "SECRET_KEY": "s" * 64, "JWT_SECRET_KEY": "j" * 64}
READERS = ("text", "boolean", "integer", "words", "choice", "json_object", "secret", "database")


def _documented() -> dict[str, str]:
    return dict(LINE.findall((BASE_DIR / ".env.example").read_text()))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run settings.py; return each variable it asked for and its default."""
    defaults: dict[str, Any] = {}

    def recorder(reader: Any) -> Any:
        def read(name: str, *default: Any, **options: Any) -> Any:
            # A reader may use another one: the outermost knows the default as it is written.
            defaults.setdefault(name, options.get("default", default[0] if default else ""))
            if name not in GIVEN:
                monkeypatch.delenv(name, raising=False)
            return reader(name, *default, **options)

        return read

    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(env, "load_file", lambda _: None)
    for reader in READERS:
        monkeypatch.setattr(env, reader, recorder(getattr(env, reader)))
    runpy.run_path(str(BASE_DIR / "project" / "settings.py"))
    return defaults


def _written(default: Any) -> str:
    """Return a default as a line of the file has it; paths of this machine are left out."""
    text = str(int(default)) if isinstance(default, bool) else str(default)
    return "" if str(BASE_DIR) in text else text


def test_every_variable_stands_in_the_example(asked: dict[str, Any]) -> None:
    missing = asked.keys() - _documented().keys()
    assert not missing, f"add to .env.example: {sorted(missing)}"


def test_the_example_names_nothing_that_is_not_read(asked: dict[str, Any]) -> None:
    stale = _documented().keys() - asked.keys() - READ_BY_MAKE
    assert not stale, f"remove from .env.example: {sorted(stale)}"


def test_the_example_has_the_true_defaults(asked: dict[str, Any]) -> None:
    documented = _documented()
    wrong = {
        name: (documented[name], _written(default))
        for name, default in asked.items()
        if name in documented and documented[name] != _written(default)
    }
    assert not wrong, f"name: (.env.example, settings.py): {wrong}"
