"""What the content security policy forbids stands in no template and in no script of ours."""

import re
from pathlib import Path

import pytest
from django.conf import settings

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
STATIC = settings.BASE_DIR / "realtime" / "static" / "realtime"
SCRIPTS = sorted(STATIC.glob("*.js"))

INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)", re.IGNORECASE)
INLINE_HANDLER = re.compile(r"<[^>]+\son[a-z]+\s*=", re.IGNORECASE)
SCRIPT_URL = re.compile(r"javascript:", re.IGNORECASE)
FOREIGN = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""", re.IGNORECASE)
MARKUP_FROM_TEXT = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(")


def _names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_there_is_something_to_look_at() -> None:
    assert len(TEMPLATES) > 10
    assert len(SCRIPTS) > 10


@pytest.mark.parametrize("template", TEMPLATES, ids=_names(TEMPLATES))
def test_no_template_has_an_inline_script_or_handler(template: Path) -> None:
    text = template.read_text()
    for pattern in (INLINE_SCRIPT, INLINE_HANDLER, SCRIPT_URL):
        assert not pattern.search(text)


@pytest.mark.parametrize("template", TEMPLATES, ids=_names(TEMPLATES))
def test_no_template_names_another_host(template: Path) -> None:
    assert not FOREIGN.search(template.read_text())


@pytest.mark.parametrize("template", TEMPLATES, ids=_names(TEMPLATES))
def test_no_template_marks_text_as_safe(template: Path) -> None:
    text = template.read_text()
    assert "|safe" not in text
    assert "autoescape off" not in text


@pytest.mark.parametrize("script", SCRIPTS, ids=_names(SCRIPTS))
def test_no_script_makes_markup_from_text(script: Path) -> None:
    assert not MARKUP_FROM_TEXT.search(script.read_text())


@pytest.mark.parametrize("script", SCRIPTS, ids=_names(SCRIPTS))
def test_every_import_of_a_script_exists(script: Path) -> None:
    for name in re.findall(r'from "\./([^"]+)"', script.read_text()):
        assert (STATIC / name).is_file()
