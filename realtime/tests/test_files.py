"""The file areas: names, quotas, replacement, and that no content is left behind."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import transaction
from pytest_django import Settings

from accounts.models import User
from realtime import files
from realtime.core.errors import Conflict, Invalid, NotFound, OverLimit, Unavailable
from realtime.files import PUBLIC, Area, area_of_session, area_of_user
from realtime.models import FileArea, LooseContent, StoredFile
from realtime.tests.doubles import NOW

# What is deleted once a transaction has committed is looked for here.
pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana", role="ROLE_MEMBER")


@pytest.fixture
def area(ana: User) -> Area:
    return area_of_user(ana.pk)


@pytest.fixture(autouse=True)
def _storage_is_new(settings: Settings) -> None:
    settings.STORAGES = {**settings.STORAGES}


def contents() -> list[bytes]:
    """Return everything that lies in the storage."""
    storage = storages["files"]
    folders, found = storage.listdir("")
    paths = [*found, *(f"{each}/{name}" for each in folders for name in storage.listdir(each)[1])]
    read = []
    for path in paths:
        with storage.open(path) as opened:
            read.append(opened.read())
    return sorted(read)


def test_a_file_is_stored_with_what_is_known_of_it(area: Area, ana: User) -> None:
    file = files.save_file(area, "report.html", b"<b>hello</b>", now=NOW)
    assert (file.name, file.size, file.mime) == ("report.html", 12, "text/plain")
    assert file.sha256 == hashlib.sha256(b"<b>hello</b>").hexdigest()
    assert file.created_at == file.modified_at == NOW
    assert file.area.owner == ana
    assert files.read_file(area, "report.html") == b"<b>hello</b>"
    assert [each.name for each in files.list_files(area)] == ["report.html"]


def test_the_storage_never_sees_the_name(area: Area) -> None:
    file = files.save_file(area, "secret plan.txt", b"x", now=NOW)
    assert "plan" not in file.content
    assert files.find_file(area, "secret plan.txt").content == file.content


def test_a_bad_name_is_refused_by_every_verb(area: Area) -> None:
    verbs: list[Callable[[], Any]] = [
        lambda: files.save_file(area, "../x", b"", now=NOW),
        lambda: files.append_to_file(area, "../x", b"", now=NOW),
        lambda: files.find_file(area, "../x"),
        lambda: files.read_file(area, "../x"),
        lambda: files.delete_file(area, "../x"),
    ]
    for verb in verbs:
        with pytest.raises(Invalid):
            verb()
    assert not StoredFile.objects.exists()
    assert contents() == []


def test_areas_do_not_see_each_other(area: Area) -> None:
    others = [PUBLIC, area_of_session("s-1"), area_of_session("s-2")]
    for number, each in enumerate([area, *others]):
        files.save_file(each, "same", b"%d" % number, now=NOW)
    assert [files.read_file(each, "same") for each in [area, *others]] == [b"0", b"1", b"2", b"3"]
    files.clear_area(others[1])
    assert files.list_files(others[1]) == []
    assert files.read_file(others[2], "same") == b"3"
    assert contents() == [b"0", b"1", b"3"]


# --- Replacing and deleting ------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_the_old_content_deleted(area: Area) -> None:
    files.save_file(area, "a", b"old", now=NOW)
    file = files.save_file(area, "a", b"new!", now=LATER)
    assert (file.size, file.created_at, file.modified_at) == (4, NOW, LATER)
    assert contents() == [b"new!"]
    assert not LooseContent.objects.exists()


def test_who_found_the_old_one_opens_the_new_one(area: Area) -> None:
    found = files.save_file(area, "a", b"old", now=NOW)
    files.save_file(area, "a", b"new", now=LATER)
    with files.open_content(found) as opened:
        assert opened.read() == b"new"


def test_a_deleted_file_is_gone_with_its_content(area: Area) -> None:
    found = files.save_file(area, "a", b"x", now=NOW)
    files.delete_file(area, "a")
    assert contents() == []
    assert not LooseContent.objects.exists()
    for ask in (lambda: files.find_file(area, "a"), lambda: files.open_content(found)):
        with pytest.raises(NotFound):
            ask()
    with pytest.raises(NotFound):
        files.delete_file(area, "a")


def test_a_user_s_files_go_with_the_user(area: Area, ana: User) -> None:
    files.save_file(area, "a", b"x", now=NOW)
    ana.delete()
    assert not FileArea.objects.exists()
    assert contents() == []


def test_a_replacement_that_fails_leaves_the_old_file(
    area: Area, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save_file(area, "a", b"old", now=NOW)

    def fail(_: bytes) -> str:
        raise RuntimeError("on purpose")

    with monkeypatch.context() as patched:
        patched.setattr(files, "mime_of", fail)
        with pytest.raises(RuntimeError):
            files.save_file(area, "a", b"new", now=LATER)
    assert files.read_file(area, "a") == b"old"
    assert contents() == [b"old"]
    assert not LooseContent.objects.exists()


def test_a_deletion_that_is_rolled_back_deletes_nothing(area: Area) -> None:
    files.save_file(area, "a", b"x", now=NOW)
    with transaction.atomic():
        files.delete_file(area, "a")
        transaction.set_rollback(True)
    assert files.read_file(area, "a") == b"x"


# --- Appending -------------------------------------------------------------------------------


def test_appending_begins_a_file_and_adds_to_it(area: Area) -> None:
    for part in (b"one ", b"two ", b"\x00three"):
        file = files.append_to_file(area, "log", part, now=NOW)
    assert files.read_file(area, "log") == b"one two \x00three"
    assert (file.size, file.mime) == (14, "application/octet-stream")
    assert file.sha256 == hashlib.sha256(b"one two \x00three").hexdigest()
    assert len(contents()) == 1


def test_of_two_who_append_at_once_nobody_is_lost(
    area: Area, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save_file(area, "log", b"0", now=NOW)
    store, turns = files._store, iter([True])

    def interrupted(content: bytes, now: Any) -> str:
        if next(turns, False):
            files.append_to_file(area, "log", b"1", now=NOW)
        return store(content, now)

    monkeypatch.setattr(files, "_store", interrupted)
    files.append_to_file(area, "log", b"2", now=NOW)
    assert files.read_file(area, "log") == b"012"
    assert contents() == [b"012"]


def test_who_never_gets_a_turn_is_told(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    def always_changed(*args: Any, **options: Any) -> None:
        raise Conflict("changed")

    monkeypatch.setattr(files, "_put", always_changed)
    with pytest.raises(Conflict, match="try again"):
        files.append_to_file(area, "log", b"1", now=NOW)


# --- Limits ----------------------------------------------------------------------------------


def over(limit: str, write: Callable[[], Any]) -> OverLimit:
    with pytest.raises(OverLimit) as refusal:
        write()
    assert refusal.value.kind == limit
    return refusal.value


def test_a_file_has_a_largest_size(area: Area, settings: Settings) -> None:
    settings.FILE_BYTES = 4
    files.save_file(area, "a", b"1234", now=NOW)
    refused = over("file_bytes", lambda: files.save_file(area, "b", b"12345", now=NOW))
    assert (refused.limit, refused.used) == (4, 5)
    over("file_bytes", lambda: files.append_to_file(area, "a", b"5", now=NOW))
    assert contents() == [b"1234"]


def test_an_area_has_a_quota_of_bytes_in_which_a_replaced_file_does_not_count(
    area: Area, settings: Settings
) -> None:
    settings.FILE_AREA_BYTES = 6
    files.save_file(area, "a", b"1234", now=NOW)
    refused = over("area_bytes", lambda: files.save_file(area, "b", b"123", now=NOW))
    assert (refused.limit, refused.used) == (6, 4)
    files.save_file(area, "a", b"123456", now=NOW)
    files.save_file(PUBLIC, "a", b"123456", now=NOW)
    files.delete_file(area, "a")
    files.save_file(area, "b", b"123", now=NOW)


def test_an_area_has_a_quota_of_files(area: Area, settings: Settings) -> None:
    settings.FILES_PER_AREA = 2
    for name in ("a", "b", "a"):
        files.save_file(area, name, b"", now=NOW)
    refused = over("area_files", lambda: files.save_file(area, "c", b"", now=NOW))
    assert (refused.limit, refused.used) == (2, 2)


def test_a_quota_that_is_used_up_meanwhile_is_found_under_the_lock(
    area: Area, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILES_PER_AREA = 1
    store, turns = files._store, iter([True])

    def interrupted(content: bytes, now: Any) -> str:
        if next(turns, False):
            files.save_file(area, "first", b"1", now=NOW)
        return store(content, now)

    monkeypatch.setattr(files, "_store", interrupted)
    over("area_files", lambda: files.save_file(area, "second", b"2", now=NOW))
    assert contents() == [b"1"]
    assert not LooseContent.objects.exists()


def test_limits_that_contradict_each_other_stop_the_start(settings: Settings) -> None:
    assert files.check_limits() == []
    settings.FILE_BYTES = settings.FILE_AREA_BYTES + 1
    assert [problem.id for problem in files.check_limits()] == ["files.E001"]


# --- When something is away, or dies ---------------------------------------------------------


class Broken:
    """A storage that is away."""

    def __getattr__(self, name: str) -> Any:
        def fail(*args: Any, **options: Any) -> Any:
            raise ConnectionError("the bucket is away")

        return fail


def test_a_storage_that_is_away_is_told_and_leaves_nothing(
    area: Area, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save_file(area, "a", b"old", now=NOW)
    with monkeypatch.context() as patched:
        patched.setattr(files, "_storage", Broken)
        for ask in (
            lambda: files.save_file(area, "a", b"new", now=LATER),
            lambda: files.read_file(area, "a"),
        ):
            with pytest.raises(Unavailable):
                ask()
        # The row is gone although the content cannot be deleted now.
        files.delete_file(area, "a")
    assert LooseContent.objects.count() == 2
    LooseContent.objects.update(since=NOW)
    assert files.sweep(now=LATER + files.LOOSE_FOR) == 2
    assert contents() == []


def test_what_a_killed_process_had_written_is_swept_when_nobody_can_need_it(area: Area) -> None:
    files._store(b"half way", NOW)
    kept = files.save_file(area, "a", b"kept", now=NOW)
    assert files.sweep(now=NOW + timedelta(minutes=59)) == 0
    assert len(contents()) == 2
    assert files.sweep(now=NOW + timedelta(minutes=61)) == 1
    assert contents() == [b"kept"]
    assert files.read_file(area, kept.name) == b"kept"


def test_what_became_a_file_s_is_never_discarded(area: Area) -> None:
    """The writer that lost its connection at the COMMIT cannot know that it became one."""
    file = files.save_file(area, "a", b"x", now=NOW)
    assert not files._discard(file.content)
    assert files.read_file(area, "a") == b"x"
