"""Stored files in the admin: looked at, downloaded by who may, deleted."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.storage import storages
from django.test import Client

from accounts import roles
from accounts.models import User
from realtime import files
from realtime.models import StoredFile
from realtime.tests.doubles import NOW

pytestmark = pytest.mark.django_db

FILES = "/admin/realtime/storedfile/"


@pytest.fixture
def stored(administrator: User) -> StoredFile:
    area = files.area_of_user(administrator.pk)
    return files.save_file(area, "Übersicht.html", b"<script>alert(1)</script>", now=NOW)


def body_of(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def test_files_are_listed_and_not_edited(client: Client, stored: StoredFile) -> None:
    assert "Übersicht.html" in client.get(FILES, {"q": "root of"}).content.decode()
    assert client.get(f"{FILES}{stored.pk}/change/").status_code == 200
    assert client.get(f"{FILES}add/").status_code == 403


def test_a_file_is_downloaded_and_never_shown(
    client: Client, stored: StoredFile, administrator: User
) -> None:
    response = client.get(f"{FILES}{stored.pk}/download/")
    assert body_of(response) == b"<script>alert(1)</script>"
    assert response["Content-Type"] == "text/plain"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"].startswith("attachment")
    assert response["Content-Length"] == "25"
    assert response["Content-Security-Policy"] == "sandbox"
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (administrator, str(stored.pk))


def test_a_download_needs_its_permission(stored: StoredFile) -> None:
    operator = User.objects.create_user("op", role=roles.OPERATOR)
    client = Client()
    client.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(FILES).status_code == 403
    assert client.get(f"{FILES}{stored.pk}/download/").status_code == 403
    operator.user_permissions.add(Permission.objects.get(codename="view_storedfile"))
    assert client.get(FILES).status_code == 200
    assert client.get(f"{FILES}{stored.pk}/download/").status_code == 403
    operator.user_permissions.add(Permission.objects.get(codename="download_storedfile"))
    assert client.get(f"{FILES}{stored.pk}/download/").status_code == 200


def test_a_file_that_is_gone_is_told_on_the_page(client: Client, stored: StoredFile) -> None:
    StoredFile.objects.all().delete()
    page = client.get(f"{FILES}{stored.pk}/download/", follow=True).content.decode()
    assert "no such file" in page


@pytest.mark.django_db(transaction=True)
def test_files_are_deleted_with_their_content(client: Client, stored: StoredFile) -> None:
    given = {"action": "delete_selected", "_selected_action": [stored.pk], "post": "yes"}
    client.post(FILES, given)
    assert not StoredFile.objects.exists()
    assert not storages["files"].exists(stored.content)
