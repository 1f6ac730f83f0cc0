"""Devices: their configuration is edited here, their state and what follows goes by services."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display

from accounts import tokens
from devices.admin.base import EachMixin, HistoryAdmin, TellingAdmin
from devices.admin.forms import CommandForm, ObjectField
from devices.admin.links import link_to
from devices.admin.transfer import DeviceResource, TransferMixin
from devices.models import Alert, Device, StatusChange
from devices.models.alert import Severity
from devices.services.alerts import raise_alert
from devices.services.commands import queue_command
from devices.services.devices import (
    change_status,
    issue_device_token,
    restore_device,
    retire_device,
)
from realtime.core.errors import Conflict, Failure

STATUS_COLOURS = {
    Device.Status.ONLINE: "success",
    Device.Status.WARNING: "warning",
    Device.Status.ERROR: "danger",
    Device.Status.MAINTENANCE: "info",
}


class DeviceForm(forms.ModelForm):
    """`metadata` and `configuration` are objects, as they are over REST."""

    metadata = ObjectField()
    configuration = ObjectField()

    class Meta:
        model = Device
        fields: tuple[str, ...] = ()

    def clean_external_id(self) -> str:
        """Whether it is in service is not on the form, so that Django does not ask."""
        external_id: str = self.cleaned_data["external_id"]
        same = Device.objects.filter(external_id=external_id, is_active=True)
        if self.instance.is_active and same.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("A device with this id is in service already.")
        return external_id


@admin.register(Device)
class DeviceAdmin(EachMixin, TransferMixin, TellingAdmin):
    form = DeviceForm
    resource_classes = (DeviceResource,)

    list_display = (
        "name",
        "external_id",
        "device_type",
        "status_label",
        "location",
        "last_seen",
        "is_active",
    )
    list_filter = ("is_active", "status", "device_type")
    search_fields = ("name", "external_id", "location", "manufacturer", "model")
    fieldsets = (
        (None, {"fields": ("name", "external_id", "device_type", "location")}),
        ("Make", {"fields": ("manufacturer", "model", "firmware_version")}),
        ("Behaviour", {"fields": ("silence_seconds", "metadata", "configuration")}),
        (
            "State",
            {
                "fields": (
                    "status",
                    "status_reason",
                    "status_since",
                    "last_seen",
                    "is_active",
                    "account",
                    "related",
                )
            },
        ),
        ("Record", {"fields": ("id", "created_at", "updated_at")}),
    )
    readonly_fields = (
        "id",
        "status",
        "status_reason",
        "status_since",
        "last_seen",
        "is_active",
        "account",
        "related",
        "created_at",
        "updated_at",
    )
    actions = (
        "send_command",
        "issue_token",
        "replace_tokens",
        "raise_test_alert",
        "retire",
        "restore",
    )
    actions_detail = ("send_command_to",)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Its readings would go with it: taking it out of service is what is meant."""
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Add one action for each status."""
        actions = super().get_actions(request)
        if self.has_change_permission(request):
            for status in Device.Status:
                name = f"set_{status}"
                actions[name] = (_status_setter(status), name, f"Set status: {status.label}")
        return actions

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def status_label(self, device: Device) -> tuple[str, str]:
        return device.status, device.get_status_display()

    @admin.display(description="more")
    def related(self, device: Device) -> str:
        return format_html(
            "{} · {} · {} · {}",
            link_to("alerts", "alert", device__id__exact=device.pk),
            link_to("measured series", "series", device__id__exact=device.pk),
            link_to("commands", "command", device__id__exact=device.pk),
            link_to("status changes", "statuschange", device__id__exact=device.pk),
        )

    def set_status(self, request: HttpRequest, devices: QuerySet[Device], status: str) -> None:
        def set_one(device: Device) -> str:
            reason = f"set by {request.user.get_username()}"
            if not change_status(device.pk, status, reason=reason, now=timezone.now()):
                raise Conflict(f"it is {status} already")
            return f"set status from {device.status} to {status}"

        self.each(request, devices, set_one)

    # --- Commands ---------------------------------------------------------------------------

    def has_command_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("devices.add_command")

    @admin.action(description="Send command…", permissions=["command"])
    def send_command(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse | None:
        """Ask for the command on a page of its own, then queue it for each device."""
        is_asked = "command" in request.POST
        form = CommandForm(request.POST if is_asked else None)
        if not is_asked or not form.is_valid():
            return self._command_page(request, devices, form)
        self.each(request, devices, partial(_queue_for, request, form.cleaned_data))
        return None

    @action(description="Send command…", url_path="send-command", permissions=["command"])
    def send_command_to(self, request: HttpRequest, object_id: str) -> HttpResponse:
        devices = self.get_queryset(request).filter(pk=object_id)
        return self._command_page(request, devices, CommandForm())

    def _command_page(
        self, request: HttpRequest, devices: QuerySet[Device], form: CommandForm
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Send command",
            "opts": self.opts,
            "devices": devices,
            "form": form,
        }
        return TemplateResponse(request, "admin/devices/send_command.html", context)

    # --- Tokens -----------------------------------------------------------------------------

    @admin.action(description="Issue device token", permissions=["change"])
    def issue_token(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse:
        return self._issue(request, devices, revokes_others=False)

    @admin.action(description="Issue device token, revoke all earlier", permissions=["change"])
    def replace_tokens(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse:
        return self._issue(request, devices, revokes_others=True)

    def _issue(
        self, request: HttpRequest, devices: QuerySet[Device], *, revokes_others: bool
    ) -> HttpResponse:
        """Show a new token for each device, on this answer only: it is stored nowhere."""
        issued = []

        def issue_one(device: Device) -> str:
            now = timezone.now()
            bound, token = issue_device_token(device.pk, now=now, revokes_others=revokes_others)
            issued.append((bound, token, now + tokens.lifetime_of(bound.account.role_id)))
            return "issued a token" + (" and revoked all earlier" if revokes_others else "")

        self.each(request, devices, issue_one)
        context = {
            **self.admin_site.each_context(request),
            "title": "Device tokens, shown once",
            "opts": self.opts,
            "issued": issued,
        }
        response = TemplateResponse(request, "admin/devices/issued_tokens.html", context)
        response["Cache-Control"] = "no-store"
        return response

    # --- In and out of service --------------------------------------------------------------

    def has_alert_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("devices.change_alert")

    @admin.action(description="Raise a test alert", permissions=["alert"])
    def raise_test_alert(self, request: HttpRequest, devices: QuerySet[Device]) -> None:
        def raise_one(device: Device) -> str:
            alert = raise_alert(
                title="Test alert",
                message=f"Raised by {request.user.get_username()} to see that it is heard.",
                severity=Severity.INFO,
                alert_type=Alert.Type.MANUAL,
                device_id=device.pk,
                now=timezone.now(),
            )
            if alert is None:
                raise Failure("an alert is open already")
            return f"raised test alert {alert.pk}"

        self.each(request, devices, raise_one)

    @admin.action(description="Take out of service", permissions=["change"])
    def retire(self, request: HttpRequest, devices: QuerySet[Device]) -> None:
        def retire_one(device: Device) -> str:
            retire_device(device.pk, now=timezone.now())
            return "taken out of service"

        self.each(request, devices, retire_one)

    @admin.action(description="Put back into service", permissions=["change"])
    def restore(self, request: HttpRequest, devices: QuerySet[Device]) -> None:
        def restore_one(device: Device) -> str:
            restore_device(device.pk, now=timezone.now())
            return "put back into service"

        self.each(request, devices, restore_one)


def _status_setter(status: str) -> Callable[..., None]:
    def set_status(admin: DeviceAdmin, request: HttpRequest, devices: QuerySet[Device]) -> None:
        admin.set_status(request, devices, status)

    return set_status


def _queue_for(request: HttpRequest, asked: dict[str, Any], device: Device) -> str:
    queued = queue_command(
        device.pk,
        command=asked["command"],
        parameters=asked["parameters"],
        by=request.user,
        now=timezone.now(),
        seconds=asked["seconds"],
    )
    return f"sent command {queued.pk}: {queued.command} {queued.parameters or ''}".rstrip()


@admin.register(StatusChange)
class StatusChangeAdmin(HistoryAdmin):
    list_display = ("at", "device", "old_status", "new_status", "reason")
    list_filter = ("new_status",)
    list_select_related = ("device",)
    search_fields = ("device__name", "device__external_id")
    ordering = ("-id",)
    sortable_by = ()
