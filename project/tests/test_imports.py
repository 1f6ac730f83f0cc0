"""The import rule of docs/architecture.md, read from the source: imports point downwards."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

BASE_DIR = Path(__file__).resolve().parents[2]
PACKAGES = ("accounts", "devices", "realtime", "project", "bench")

# The most specific prefix decides. Two modules on one level of floor 2 may meet only where
# LEFT_TO_RIGHT says so.
FLOORS = {
    "realtime.core": 0,
    "realtime.client": 0,
    "accounts": 1,
    "devices": 2,
    "realtime.models": 2,
    "realtime.migrations": 2,
    "realtime.calls": 2,
    "realtime.transports": 2,
    "realtime.journal": 2,
    "realtime.broker": 2,
    "realtime.nodes": 2,
    "realtime.budgets": 2,
    "realtime.attempts": 2,
    "realtime.messagelog": 2,
    "realtime.presence": 2,
    "realtime.connections": 2,
    "realtime.notifications": 2,
    "realtime.mailbox": 2,
    "realtime.publisher": 2,
    "realtime.census": 2,
    "realtime.files": 2,
    "realtime.members": 2,
    "realtime.cohorts": 2,
    "realtime.backlog": 2,
    "realtime.hub": 2,
    "realtime.tail": 2,
    "realtime.consumers": 2,
    "realtime.lobby": 2,
    "realtime.bridge": 3,
    "realtime.intake": 3,
    "realtime.alarms": 3,
    "realtime.watch": 3,
    "realtime.sampler": 3,
    "realtime.rollcall": 3,
    "realtime.oversight": 3,
    "realtime.api": 3,
    "realtime.urls": 3,
    "realtime.auth": 3,
    "realtime.negotiation": 3,
    "realtime.routing": 3,
    "realtime.asyncapi": 3,
    "realtime.dialects": 3,
    "realtime.dashboard": 3,
    "realtime.admin": 3,
    "realtime.apps": 3,
    "realtime.management": 3,
    "realtime.runtime": 3,
    "realtime.lifespan": 3,
    "realtime.health": 3,
    "project": 4,
    "bench": 5,
}
LEFT_TO_RIGHT = [
    {"realtime.models", "realtime.migrations", "realtime.calls", "realtime.transports"},
    {
        "realtime.journal",
        "realtime.broker",
        "realtime.nodes",
        "realtime.budgets",
        "realtime.attempts",
        "realtime.messagelog",
        "realtime.presence",
        "realtime.connections",
        "realtime.notifications",
        "realtime.mailbox",
        "realtime.files",
        "realtime.census",
    },
    {"realtime.publisher"},
    {"realtime.members", "realtime.cohorts", "realtime.backlog", "realtime.hub"},
    {"realtime.tail"},
    {"realtime.consumers"},
    {"realtime.lobby"},
]
# What only one module may import: library -> that module.
SOLE_IMPORTERS = {
    "channels.layers": "realtime.broker",
    "jwt": "accounts.tokens",
    "rest_framework_simplejwt": "accounts.tokens",
}
# Measurements start servers of other kinds, with environments of their own, as tests do.
ENVIRONMENT_READERS = ("project.settings", "project.env", "bench")


@dataclass(frozen=True)
class Import:
    """One import statement: which module names which, and where."""

    importer: str
    imported: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.importer} imports {self.imported}"


def _name_of(path: Path) -> str:
    parts = path.relative_to(BASE_DIR).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_test(module: str) -> bool:
    return "tests" in module.split(".") or module.rsplit(".", 1)[-1] == "conftest"


@cache
def _trees() -> dict[str, tuple[Path, ast.Module]]:
    """Return the syntax tree of every module that is not a test."""
    paths = (path for package in PACKAGES for path in (BASE_DIR / package).rglob("*.py"))
    return {
        _name_of(path): (path, ast.parse(path.read_text(), str(path)))
        for path in paths
        if not _is_test(_name_of(path))
    }


def _names_in(node: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the modules a statement imports; `from a import b` may mean `a` or `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            home = module.split(".")
            home = home[: len(home) - node.level + (1 if is_package else 0)]
            base = ".".join([*home, base] if base else home)
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in _trees() else base


@cache
def _imports() -> tuple[Import, ...]:
    found = []
    for module, (path, tree) in _trees().items():
        for node in ast.walk(tree):
            for name in _names_in(node, module, is_package=path.name == "__init__.py"):
                place = f"{path.relative_to(BASE_DIR)}:{getattr(node, 'lineno', 0)}"
                found.append(Import(module, name, place))
    return tuple(found)


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _room_of(module: str) -> str | None:
    """Return the most specific entry of FLOORS that `module` belongs to."""
    rooms = [room for room in FLOORS if _is_inside(module, room)]
    return max(rooms, key=len, default=None)


def _column_of(room: str) -> int | None:
    return next((i for i, column in enumerate(LEFT_TO_RIGHT) if room in column), None)


def _refuse(offences: list[Import], rule: str) -> None:
    listing = "\n".join(f"  {offence}" for offence in offences)
    assert not offences, f"{rule}:\n{listing}"


def test_every_module_has_a_floor() -> None:
    homeless = [name for name in _trees() if _room_of(name) is None and name != "realtime"]
    assert not homeless, f"these modules stand on no floor, add them to FLOORS: {homeless}"


def test_imports_point_downwards() -> None:
    offences = []
    for each in _imports():
        above, below = _room_of(each.importer), _room_of(each.imported)
        if above and below and FLOORS[below] > FLOORS[above]:
            offences.append(each)
    _refuse(offences, "a lower floor imports a higher one")


def test_floor_two_of_realtime_imports_to_the_left() -> None:
    offences = []
    for each in _imports():
        above, below = _room_of(each.importer), _room_of(each.imported)
        if above is None or below is None or above == below:
            continue
        right, left = _column_of(above), _column_of(below)
        if right is not None and left is not None and left > right:
            offences.append(each)
    _refuse(offences, "inside realtime's floor 2 imports go to the left")


def test_devices_and_the_floor_two_of_realtime_do_not_meet() -> None:
    offences = []
    for each in _imports():
        rooms = {_room_of(each.importer), _room_of(each.imported)}
        if "devices" in rooms and any(_column_of(room) is not None for room in rooms if room):
            offences.append(each)
    _refuse(offences, "devices and realtime's floor 2 meet on floor 3 only")


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("realtime.core", {"realtime.core"}),
        ("realtime.client", {"realtime.client", "realtime.core"}),
        ("accounts", {"accounts", "realtime.core"}),
        ("devices", {"devices", "accounts", "realtime.core"}),
    ],
)
def test_a_package_knows_only_what_it_may(package: str, allowed: set[str]) -> None:
    offences = [
        each
        for each in _imports()
        if _is_inside(each.importer, package)
        and each.imported.split(".")[0] in PACKAGES
        and not any(_is_inside(each.imported, room) for room in allowed)
    ]
    _refuse(offences, f"of our own code {package} imports only {sorted(allowed)}")


@pytest.mark.parametrize("package", ["realtime.core", "realtime.client"])
def test_floor_zero_stands_without_django(package: str) -> None:
    offences = [
        each
        for each in _imports()
        if _is_inside(each.importer, package)
        and any(_is_inside(each.imported, library) for library in ("django", "channels"))
    ]
    _refuse(offences, f"{package} imports no Django")


def test_dialects_do_not_know_each_other() -> None:
    offences = []
    for each in _imports():
        here, there = each.importer.split(".")[:3], each.imported.split(".")[:3]
        is_dialect = here[:2] == there[:2] == ["realtime", "dialects"]
        if is_dialect and len(here) == len(there) == 3 and here != there and there[2] != "base":
            offences.append(each)
    _refuse(offences, "never sideways between dialects")


def test_a_schema_imports_only_core() -> None:
    offences = [
        each
        for each in _imports()
        if _is_inside(each.importer, "realtime.dialects")
        and each.importer.split(".")[3:4] == ["schema"]
        and each.imported.split(".")[0] in {*PACKAGES, "django", "channels"}
        and not _is_inside(each.imported, "realtime.core")
        # A schema in several files knows itself.
        and not _is_inside(each.imported, ".".join(each.importer.split(".")[:4]))
    ]
    _refuse(offences, "a dialect's schema.py imports only realtime.core")


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_a_library_with_one_door_is_imported_there_only(library: str) -> None:
    offences = [
        each
        for each in _imports()
        if _is_inside(each.imported, library) and each.importer != SOLE_IMPORTERS[library]
    ]
    _refuse(offences, f"only {SOLE_IMPORTERS[library]} imports {library}")


def test_only_settings_reads_the_environment() -> None:
    offences = [
        f"{path.relative_to(BASE_DIR)}:{node.lineno}"
        for module, (path, tree) in _trees().items()
        if not _may_read_environment(module)
        for node in _environment_reads(tree)
    ]
    assert not offences, f"read the setting instead of the environment: {offences}"


def _may_read_environment(module: str) -> bool:
    return any(_is_inside(module, reader) for reader in ENVIRONMENT_READERS)


def _environment_reads(tree: ast.Module) -> Iterator[ast.Attribute]:
    """Yield uses of os.environ and os.getenv; naming the settings module is allowed."""
    naming = {
        id(node.func.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "setdefault"
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == "DJANGO_SETTINGS_MODULE"
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and node.attr in {"environ", "getenv", "environb"}
            and id(node) not in naming
        ):
            yield node


def test_only_settings_and_env_import_the_reader_of_the_environment() -> None:
    offences = [
        each
        for each in _imports()
        if _is_inside(each.imported, "project.env") and not _may_read_environment(each.importer)
    ]
    _refuse(offences, "only project/settings.py calls project.env")
