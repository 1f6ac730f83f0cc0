"""Browser assets that installed packages carry, served as static files of ours."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.contrib.staticfiles.utils import matches_patterns
from django.core.checks import CheckMessage, Warning
from django.core.files.storage import FileSystemStorage
from whitenoise.storage import CompressedManifestStaticFilesStorage

# Static name -> (package, path inside it). Nothing else of a package is exposed.
ASSETS = {
    "vendor/plotly.min.js": ("plotly", "package_data/plotly.min.js"),
}


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Gives ES modules hashed names in each other's imports, too.

    Without it an old module could be taken from a cache into a new page.
    """

    support_js_module_import_aggregation = True


def installed_path(name: str) -> Path | None:
    """Return where the asset lies on this machine, or None. Does not import the package."""
    package, inside = ASSETS[name]
    spec = find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    return next((path for folder in folders if (path := Path(folder, inside)).is_file()), None)


class PackageStorage(FileSystemStorage):
    """Opens assets by their static name; what collectstatic copies from."""

    prefix = None

    def path(self, name: str) -> str:
        return str(installed_path(name))


class PackageAssetFinder(BaseFinder):
    """Finds the named files of `ASSETS`, for collectstatic and for development alike."""

    storage = PackageStorage()

    def find(self, path: str, find_all: bool = False, **_: Any) -> str | list[str]:
        found = installed_path(path) if path in ASSETS else None
        if find_all:
            return [str(found)] if found else []
        return str(found) if found else []

    def list(self, ignore_patterns: Any) -> Iterator[tuple[str, PackageStorage]]:
        for name in ASSETS:
            if installed_path(name) and not matches_patterns(name, ignore_patterns or []):
                yield name, self.storage

    def check(self, **_: Any) -> "list[CheckMessage]":
        """Warn of each asset that is not installed: its page works, without that view."""
        return [
            Warning(
                f"{name} is missing: the package {package} has no {inside} here.",
                hint="Install the project's requirements again: pip install -r requirements.txt",
                id="dashboard.W001",
            )
            for name, (package, inside) in ASSETS.items()
            if installed_path(name) is None
        ]
