"""Stored files: looked at, downloaded by who may, deleted."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.base import File
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import content_disposition_header

from devices.api.streaming import streamed
from realtime import files
from realtime.admin.base import ReadOnlyAdmin
from realtime.core.errors import Failure, NotFound
from realtime.models import StoredFile


@admin.register(StoredFile)
class StoredFileAdmin(ReadOnlyAdmin):
    """Whose files there are; they are downloaded by permission, and deleted."""

    list_display = ("name", "area", "readable_size", "mime", "modified_at", "download_link")
    list_filter = ("mime", "modified_at")
    list_select_related = ("area__owner",)
    search_fields = ("name", "area__owner__username", "sha256")
    date_hierarchy = "modified_at"
    fields = (
        "name",
        "area",
        "readable_size",
        "mime",
        "sha256",
        "created_at",
        "modified_at",
        "download_link",
    )
    readonly_fields = ("readable_size", "download_link")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def has_download_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("realtime.download_storedfile")

    @admin.display(description="size", ordering="size")
    def readable_size(self, file: StoredFile) -> str:
        return filesizeformat(file.size)

    @admin.display(description="content")
    def download_link(self, file: StoredFile) -> str:
        url = reverse("admin:realtime_storedfile_download", args=(file.pk,))
        return format_html('<a href="{}">Download</a>', url)

    def get_urls(self) -> list[URLPattern]:
        download = path(
            "<int:pk>/download/",
            self.admin_site.admin_view(self.download),
            name="realtime_storedfile_download",
        )
        return [download, *super().get_urls()]

    def download(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Answer with the content, to be saved and never shown; the admin's history names who."""
        if not self.has_download_permission(request):
            raise PermissionDenied
        file = self.get_object(request, str(pk))
        try:
            if file is None:
                raise NotFound("there is no such file any more")
            content = files.open_content(file)
        except Failure as problem:
            self.message_user(request, f"{problem}.", messages.ERROR)
            return redirect("admin:realtime_storedfile_changelist")
        self.log_change(request, file, "Downloaded.")
        response = streamed(request, _parts_of(content), file.mime)
        response["Content-Length"] = content.size
        disposition = content_disposition_header(as_attachment=True, filename=file.name)
        response["Content-Disposition"] = disposition or "attachment"
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "sandbox"
        response["Cache-Control"] = "private, no-store"
        return response


def _parts_of(content: File) -> Iterator[bytes]:
    with content:
        yield from content.chunks()
