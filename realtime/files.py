"""The file areas: one of each user, one of each session, one for all. Every write of a file.

A file is a row; its content lies in the storage `files` under a random name, so no name that
somebody gave ever becomes a path. Content is written first and becomes a file's by one
transaction: whoever reads has the old content or the new. What a process that died had written,
or no longer deleted, is named by a `LooseContent` row, and `sweep` deletes it.
"""

import hashlib
import logging
import uuid
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from django.conf import settings
from django.core import checks
from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage, storages
from django.db import DatabaseError, transaction
from django.db.models import Count, Sum
from django.db.models.signals import post_delete
from django.utils import timezone

from realtime.core.errors import Conflict, NotFound, OverLimit, Unavailable
from realtime.core.filenames import check_name
from realtime.core.mime import mime_of
from realtime.models import FileArea, LooseContent, StoredFile

logger = logging.getLogger("vitalwire.files")

# Longer than any writing takes: what is still loose then was left behind.
LOOSE_FOR: Final = timedelta(hours=1)
SWEPT_AT_ONCE: Final = 500
APPEND_TRIES: Final = 5


class Area(msgspec.Struct, frozen=True):
    """Where a file lies; names are unique in it, and quotas hold for it."""

    key: str
    owner_id: UUID | None = None


PUBLIC: Final = Area("public")


def area_of_user(user_id: UUID) -> Area:
    """Return a user's private area: the same one in every dialect."""
    return Area(f"user:{user_id}", user_id)


def area_of_session(session_id: str) -> Area:
    """Return the area of one session; whoever ends the session clears it."""
    return Area(f"session:{session_id}")


# --- Reading ---------------------------------------------------------------------------------


def list_files(area: Area) -> list[StoredFile]:
    """Return the area's files by name, at most `FILES_PER_AREA`."""
    return list(StoredFile.objects.filter(area=area.key).order_by("name"))


def find_file(area: Area, name: str) -> StoredFile:
    """Return one file. Raises NotFound; Invalid for what is no name."""
    name = check_name(name)
    file = StoredFile.objects.filter(area=area.key, name=name).first()
    if file is None:
        raise NotFound(f"there is no file {name}")
    return file


def open_content(file: StoredFile) -> File:
    """Return the content, to be read piece by piece and closed.

    A file that was replaced since its row was read is opened as it is now. Raises NotFound when
    it was deleted, Unavailable when the storage does not answer.
    """
    for attempt in (file, StoredFile.objects.filter(pk=file.pk).first()):
        if attempt is None:
            break
        try:
            return _storage().open(attempt.content)
        except FileNotFoundError:
            continue
        except Exception as error:
            raise _away(error) from error
    raise NotFound(f"there is no file {file.name}")


def read_file(area: Area, name: str) -> bytes:
    """Return a file's whole content. Raises NotFound, Unavailable."""
    with open_content(find_file(area, name)) as content:
        whole: bytes = content.read()
        return whole


# --- Writing ---------------------------------------------------------------------------------


def save_file(area: Area, name: str, content: bytes, *, now: datetime) -> StoredFile:
    """Store a file, in place of one with the same name.

    Once it returns, the file is committed. Raises Invalid for the name, OverLimit for what does
    not fit into the file or the area, Unavailable when the storage does not answer.
    """
    name = check_name(name)
    _check_room(area, name, len(content))
    return _put(area, name, content, now=now)


def append_to_file(area: Area, name: str, content: bytes, *, now: datetime) -> StoredFile:
    """Add to a file's end, or begin one. Raises what `save_file` does.

    Of two who append at once one waits for the other; Conflict when there are too many.
    """
    name = check_name(name)
    for _ in range(APPEND_TRIES):
        before = StoredFile.objects.filter(area=area.key, name=name).first()
        size = (before.size if before else 0) + len(content)
        _check_room(area, name, size)
        try:
            if before is None:
                return _put(area, name, content, now=now, onto="")
            with open_content(before) as opened:
                whole = opened.read() + content
            return _put(area, name, whole, now=now, onto=before.content)
        except (Conflict, NotFound):
            continue
    raise Conflict(f"{name} is being changed by others: try again")


def delete_file(area: Area, name: str) -> None:
    """Delete a file. Raises NotFound."""
    with transaction.atomic():
        _lock(area)
        find_file(area, name).delete()


def clear_area(area: Area) -> None:
    """Delete an area with all its files."""
    with transaction.atomic():
        FileArea.objects.filter(key=area.key).delete()


def sweep(*, now: datetime) -> int:
    """Delete content that no file has any more; return how much of it."""
    loose = LooseContent.objects.filter(since__lt=now - LOOSE_FOR).order_by("since")
    names = list(loose.values_list("content", flat=True)[:SWEPT_AT_ONCE])
    return sum(_discard(name) for name in names)


def _put(
    area: Area, name: str, content: bytes, *, now: datetime, onto: str | None = None
) -> StoredFile:
    """Store `content` as the file's. With `onto` only if it still has that content ("": none)."""
    stored = _store(content, now)
    try:
        with transaction.atomic():
            row = _lock(area)
            file = StoredFile.objects.filter(area=row, name=name).first()
            if onto is not None and onto != (file.content if file else ""):
                raise Conflict(f"{name} was changed meanwhile")
            _check_room(area, name, len(content))
            if file is None:
                file = StoredFile(area=row, name=name, created_at=now)
            else:
                _let_go(file.content, now)
            file.content = stored
            file.size = len(content)
            file.mime = mime_of(content)
            file.sha256 = hashlib.sha256(content).hexdigest()
            file.modified_at = now
            file.save()
            LooseContent.objects.filter(content=stored).delete()
        return file
    except Exception:
        # Where the database is away too, `sweep` finds it.
        _discard(stored)
        raise


def _store(content: bytes, now: datetime) -> str:
    """Write content that no file has yet; return what the storage calls it."""
    wanted = uuid.uuid4().hex
    wanted = f"{wanted[:2]}/{wanted}"
    LooseContent.objects.create(content=wanted, since=now)
    try:
        stored = _storage().save(wanted, ContentFile(content))
    except Exception as error:
        # Whatever the library of a configured storage raises.
        raise _away(error) from error
    if stored != wanted:
        LooseContent.objects.filter(content=wanted).update(content=stored)
    return stored


def _lock(area: Area) -> FileArea:
    """Return the area's row, locked to the end of the transaction: quotas are exact."""
    FileArea.objects.get_or_create(key=area.key, defaults={"owner_id": area.owner_id})
    return FileArea.objects.select_for_update().get(key=area.key)


def _check_room(area: Area, name: str, size: int) -> None:
    """Raises OverLimit when a file of this size does not fit in place of what there is."""
    if size > settings.FILE_BYTES:
        raise OverLimit(
            f"a file has at most {settings.FILE_BYTES} bytes",
            kind="file_bytes",
            limit=settings.FILE_BYTES,
            used=size,
        )
    others = StoredFile.objects.filter(area=area.key).exclude(name=name)
    has = others.aggregate(files=Count("id"), bytes=Sum("size", default=0))
    if has["bytes"] + size > settings.FILE_AREA_BYTES:
        raise OverLimit(
            f"your files have at most {settings.FILE_AREA_BYTES} bytes together: delete some",
            kind="area_bytes",
            limit=settings.FILE_AREA_BYTES,
            used=has["bytes"],
        )
    if has["files"] + 1 > settings.FILES_PER_AREA:
        raise OverLimit(
            f"there are at most {settings.FILES_PER_AREA} files: delete some",
            kind="area_files",
            limit=settings.FILES_PER_AREA,
            used=has["files"],
        )


# --- The storage -----------------------------------------------------------------------------


def _storage() -> Storage:
    return storages["files"]


def _away(error: Exception) -> Unavailable:
    logger.error("the storage of files does not answer", exc_info=error)
    return Unavailable("the storage of files does not answer: try again later")


def _let_go(content: str, now: datetime) -> None:
    """Delete content once this transaction has committed; must run inside `atomic()`."""
    LooseContent.objects.create(content=content, since=now)
    transaction.on_commit(partial(_discard, content), robust=True)


def _discard(content: str) -> bool:
    """Delete content if it is loose; what cannot be deleted now stays loose for `sweep`.

    A commit whose answer was lost may have made it a file's after all.
    """
    try:
        if not LooseContent.objects.filter(content=content).exists():
            return False
        _storage().delete(content)
        LooseContent.objects.filter(content=content).delete()
    except DatabaseError:
        return False
    except Exception as error:
        logger.warning("stored content is not deleted yet: %s", type(error).__name__)
        return False
    return True


# --- Wiring ----------------------------------------------------------------------------------


def connect() -> None:
    """Delete the content of every file that is deleted, however that happens. Safe to repeat."""
    post_delete.connect(_on_deleted, sender=StoredFile, dispatch_uid="files.on_deleted")
    checks.register(check_limits)


def _on_deleted(instance: StoredFile, **_: Any) -> None:
    _let_go(instance.content, timezone.now())


def check_limits(**_: Any) -> list[checks.CheckMessage]:
    """A file that may be stored has to fit into an area."""
    if settings.FILE_BYTES <= settings.FILE_AREA_BYTES:
        return []
    return [
        checks.Error(
            f"VITALWIRE_FILE_BYTES={settings.FILE_BYTES} is more than "
            f"VITALWIRE_FILE_AREA_BYTES={settings.FILE_AREA_BYTES}: such a file never fits.",
            hint="Lower the first or raise the second.",
            id="files.E001",
        )
    ]
