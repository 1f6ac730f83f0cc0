"""Import and export of devices and rules as CSV or JSON, by django-import-export.

Everything of a file or nothing is imported, through services; what a file would change is shown
before. Exported cells are no formulas for a spreadsheet.
"""

import json
import os
import tempfile
from typing import Any

import tablib
from django.contrib import messages
from django.core.exceptions import SuspiciousFileOperation, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from import_export.admin import ImportExportMixin
from import_export.fields import Field
from import_export.formats.base_formats import CSV, JSON
from import_export.resources import ModelResource
from import_export.results import Result, RowResult
from import_export.tmp_storages import TempFolderStorage
from import_export.widgets import ForeignKeyWidget, Widget
from unfold.contrib.import_export.forms import ExportForm, ImportForm

from devices.admin.base import describe_changes
from devices.models import AlertRule, Device
from devices.objects import check_object
from devices.services.devices import register_device, update_device
from devices.spreadsheets import disarm, rearm
from realtime.core.errors import Invalid

# An import is one transaction in a serving process: larger files come in parts.
FILE_BYTES_MAX = 1024 * 1024
ROWS_MAX = 1_000


class SafeCSV(CSV):
    """CSV whose texts no spreadsheet calculates; reading takes the marks away again."""

    def export_data(self, dataset: tablib.Dataset, **kwargs: Any) -> str:
        return super().export_data(_each_cell(dataset, disarm), **kwargs)

    def create_dataset(self, in_stream: Any, **kwargs: Any) -> tablib.Dataset:
        return _each_cell(super().create_dataset(in_stream, **kwargs), rearm)


def _each_cell(dataset: tablib.Dataset, change: Any) -> tablib.Dataset:
    rows = (tuple(change(cell) for cell in row) for row in dataset)
    return tablib.Dataset(*rows, headers=dataset.headers)


class ImportStorage(TempFolderStorage):
    """Keeps an upload until it is confirmed; opens and removes no file but its own.

    The name comes back from the browser.
    """

    PREFIX = "vitalwire-import-"

    def get_full_path(self) -> str:
        name = os.path.basename(self.name)
        if not name.startswith(self.PREFIX):
            raise SuspiciousFileOperation(f"{name} is no upload of ours")
        return os.path.join(tempfile.gettempdir(), name)

    def _open(self, mode: str = "r") -> Any:
        if self.name:
            return open(self.get_full_path(), mode, encoding=self.encoding)
        file = tempfile.NamedTemporaryFile(prefix=self.PREFIX, delete=False)  # noqa: SIM115
        self.name = file.name
        return file


class UploadForm(ImportForm):
    def clean_import_file(self) -> Any:
        file = self.cleaned_data["import_file"]
        if file.size > FILE_BYTES_MAX:
            raise ValidationError(f"At most {FILE_BYTES_MAX} bytes: import it in parts.")
        return file


class TransferMixin(ImportExportMixin):
    """Import for who may add and change, export for who may look."""

    formats = (SafeCSV, JSON)
    import_form_class = UploadForm
    export_form_class = ExportForm
    tmp_storage_class = ImportStorage

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_import_data_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_import_data_kwargs(**kwargs), "rollback_on_validation_errors": True}

    @transaction.atomic
    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Import what was confirmed; its history is in the same transaction."""
        return super().process_import(request, **kwargs)

    def process_result(self, result: Result, request: HttpRequest) -> HttpResponse:
        """The library would report success although it has undone everything."""
        if not result.has_errors() and not result.has_validation_errors():
            return super().process_result(result, request)
        self.message_user(
            request,
            "Nothing was imported: something changed since the file was checked. Upload it again.",
            messages.ERROR,
        )
        return redirect("admin:{}_{}_import".format(*self.get_model_info()))

    def _log_actions(self, result: Result, request: HttpRequest) -> None:
        """Keep from what to what each row was changed; the library keeps that it was."""
        for row in result:
            if row.import_type == RowResult.IMPORT_TYPE_NEW:
                self.log_addition(request, row.instance, "Imported.")
            elif row.import_type == RowResult.IMPORT_TYPE_UPDATE:
                names = [
                    name
                    for name in self.resource_classes[0].fields
                    if getattr(row.original, name) != getattr(row.instance, name)
                ]
                before, after = (
                    {name: getattr(instance, name) for name in names}
                    for instance in (row.original, row.instance)
                )
                message = describe_changes(before, after)
                self.log_change(request, row.instance, f"{message} By import.")


class ObjectWidget(Widget):
    """A JSON object in a cell; an empty cell is an empty object."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> dict[str, Any]:
        found = json.loads(value) if isinstance(value, str) and value else value or {}
        try:
            check_object(found, "It")
        except Invalid as error:
            raise ValueError(str(error)) from error
        return found

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return json.dumps(value, ensure_ascii=False) if value else ""


class BoundedResource(ModelResource):
    """A file of some size, checked as a form would, of which only changes are saved."""

    def before_import(self, dataset: tablib.Dataset, **kwargs: Any) -> None:
        if len(dataset) > ROWS_MAX:
            raise ValidationError(f"At most {ROWS_MAX} rows: import it in parts.")


class DeviceResource(BoundedResource):
    """The configuration of devices in service; a row is found by its device id."""

    metadata = Field("metadata", "metadata", widget=ObjectWidget())
    configuration = Field("configuration", "configuration", widget=ObjectWidget())

    class Meta:
        model = Device
        import_id_fields = ("external_id",)
        fields = (
            "external_id",
            "name",
            "device_type",
            "manufacturer",
            "model",
            "firmware_version",
            "location",
            "silence_seconds",
            "metadata",
            "configuration",
        )
        clean_model_instances = True
        skip_unchanged = True

    def get_queryset(self) -> QuerySet[Device]:
        return Device.objects.filter(is_active=True)

    def do_instance_save(self, instance: Device, is_create: bool) -> None:
        """Save through the services, which lock the row and leave its state alone."""
        fields = {name: getattr(instance, name) for name in self._meta.fields}
        now = timezone.now()
        if is_create:
            instance.pk = register_device(now=now, **fields).pk
        else:
            update_device(instance.pk, now=now, **fields)


class InServiceWidget(ForeignKeyWidget):
    """A device, by its device id."""

    def get_queryset(self, value: Any, row: Any, *args: Any, **kwargs: Any) -> QuerySet[Device]:
        return Device.objects.filter(is_active=True)


class RuleResource(BoundedResource):
    """Alert rules; a row is found by its name, metric and what it applies to.

    Not by its number: a file is good for another deployment too.
    """

    device = Field("device", "device", widget=InServiceWidget(Device, "external_id"))

    class Meta:
        model = AlertRule
        import_id_fields = ("name", "device", "device_type", "metric")
        fields = (
            "name",
            "description",
            "device",
            "device_type",
            "metric",
            "condition",
            "threshold",
            "clear_threshold",
            "raise_after_seconds",
            "clear_after_seconds",
            "cooldown_seconds",
            "severity",
            "resolves_itself",
            "is_active",
        )
        clean_model_instances = True
        skip_unchanged = True
