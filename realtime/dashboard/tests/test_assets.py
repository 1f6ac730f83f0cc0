"""`PackageAssetFinder`: named files of installed packages, and nothing else of them."""

from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command

from realtime.dashboard import assets
from realtime.dashboard.assets import PackageAssetFinder

PLOTLY = "vendor/plotly.min.js"


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> str:
    """An asset whose package is not installed."""
    monkeypatch.setitem(assets.ASSETS, "vendor/gone.js", ("no_such_package", "gone.js"))
    return "vendor/gone.js"


def test_plotly_is_found_in_its_package() -> None:
    found = PackageAssetFinder().find(PLOTLY)
    assert Path(found).parts[-3:] == ("plotly", "package_data", "plotly.min.js")


def test_all_places_of_an_asset_are_one() -> None:
    assert len(PackageAssetFinder().find(PLOTLY, find_all=True)) == 1


@pytest.mark.parametrize(
    "path",
    ["vendor/widgetbundle.js", "plotly/package_data/plotly.min.js", "../plotly/__init__.py", ""],
)
def test_other_files_of_the_package_are_not_exposed(path: str) -> None:
    assert PackageAssetFinder().find(path) == []


def test_it_is_listed_with_a_storage_that_opens_it() -> None:
    [(name, storage)] = PackageAssetFinder().list(None)
    assert name == PLOTLY
    with storage.open(name) as file:
        assert b"plotly.js" in file.read(200)


def test_an_ignored_asset_is_not_listed() -> None:
    assert list(PackageAssetFinder().list(["vendor/*"])) == []


def test_it_is_one_of_the_projects_finders() -> None:
    assert finders.find(PLOTLY) is not None


def test_nothing_is_warned_of_when_everything_is_installed() -> None:
    assert PackageAssetFinder().check() == []


def test_a_missing_asset_is_a_warning_that_names_the_package(missing: str) -> None:
    [warning] = PackageAssetFinder().check()
    assert warning.id == "dashboard.W001"
    assert "no_such_package" in warning.msg
    assert "pip install" in warning.hint


def test_a_missing_asset_is_not_found_and_not_collected(missing: str) -> None:
    finder = PackageAssetFinder()
    assert finder.find(missing) == []
    assert missing not in dict(finder.list(None))


def test_production_names_carry_hashes_in_imports_between_modules(
    tmp_path: Path, settings: object
) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "realtime.dashboard.assets.HashedStaticFilesStorage"},
    }
    settings.INSTALLED_APPS = ["django.contrib.staticfiles", "realtime"]
    call_command("collectstatic", interactive=False, verbosity=0)
    [page] = (tmp_path / "realtime").glob("overview.????????????.js")
    assert 'from "./client.js"' not in page.read_text()
    assert list((tmp_path / "vendor").glob("plotly.min.????????????.js.gz"))
