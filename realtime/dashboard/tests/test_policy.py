"""What the browser is told to allow."""

import pytest
from django.test import Client


def directives(path: str) -> dict[str, str]:
    header = Client().get(path)["Content-Security-Policy"]
    pairs = (directive.strip().partition(" ") for directive in header.split(";"))
    return {name: sources for name, _, sources in pairs}


@pytest.mark.django_db
def test_our_pages_run_scripts_of_our_own_files_only():
    assert directives("/login/")["script-src"] == "'self'"


@pytest.mark.django_db
def test_the_admin_theme_may_evaluate_its_templates_and_load_nothing_from_elsewhere():
    policy = directives("/admin/login/")
    assert "'unsafe-eval'" in policy["script-src"]
    assert policy["default-src"] == "'self'"
    assert "http" not in policy["script-src"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_nobody_else_may_frame_a_page(path):
    assert directives(path)["frame-ancestors"] in ("'none'", "'self'")
