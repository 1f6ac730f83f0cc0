"""Devices in the admin: configuration by forms, state by services, and a history of both."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from accounts import roles
from accounts.access import principal_for_token
from accounts.models import Role, User
from accounts.tokens import BadToken
from devices.admin import DeviceAdmin
from devices.models import Alert, Command, Device, StatusChange
from devices.services.devices import change_status, mark_alive, retire_device
from devices.tests.admin.pages import act, list_of, page_of, post_action, signed_in
from devices.tests.builders import LATER, NOW, Announced, a_device, an_alert, names

TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
FIELDS = (
    "name",
    "external_id",
    "device_type",
    "manufacturer",
    "model",
    "firmware_version",
    "location",
)


@pytest.fixture
def client(operator: User) -> Client:
    return signed_in(operator)


def form_of(device: Device | None = None, **changes: Any) -> dict[str, Any]:
    """Return what the page of a device sends."""
    form = {name: getattr(device, name, "") for name in FIELDS}
    form |= {"silence_seconds": "", "metadata": "{}", "configuration": "{}"}
    return form | changes


def command_page_of(device: Device) -> str:
    return f"{list_of('device')}{device.pk}/send-command/"


def history_of(row: Any) -> list[str]:
    entries = LogEntry.objects.filter(object_id=str(row.pk)).order_by("id")
    return [entry.get_change_message() for entry in entries]


# --- pages ----------------------------------------------------------------------------


def test_the_pages_open(client: Client, device: Device) -> None:
    mark_alive(device.pk, now=NOW)
    change = StatusChange.objects.get()
    for url in (
        list_of("device"),
        page_of(device),
        f"{list_of('device')}add/",
        command_page_of(device),
        list_of("statuschange"),
        page_of(change),
        list_of("command"),
    ):
        assert client.get(url).status_code == 200, url


@pytest.mark.parametrize(
    "query",
    ["?q=TEMP", "?status=offline", "?is_active__exact=1", "?device_type=sensor", "?q=Zone+A"],
)
def test_devices_are_found(client: Client, query: str) -> None:
    a_device("TEMP-001", location="Zone A")
    other = a_device("X", device_type="actuator")
    change_status(other.pk, "error", reason="", now=NOW)
    retire_device(a_device("Y", device_type="actuator").pk, now=NOW)
    devices = client.get(list_of("device") + query).context["cl"].result_list
    assert "TEMP-001" in [device.external_id for device in devices]
    assert len(devices) < 3


# --- configuration --------------------------------------------------------------------


def test_a_device_is_added(client: Client, announced: Announced) -> None:
    form = form_of(name="Alpha", external_id="TEMP-001", device_type="sensor", metadata="")
    assert client.post(f"{list_of('device')}add/", form).status_code == 302
    device = Device.objects.get()
    assert (device.name, device.status, device.is_active) == ("Alpha", "offline", True)
    assert device.metadata == {}
    assert names(announced) == ["device_changed"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("external_id", "TEMP-001"),
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a\0b"),
        ("silence_seconds", "0"),
        ("metadata", "[1]"),
        ("metadata", "{"),
        ("configuration", '{"x": NaN}'),
        ("configuration", '{"x": "\\u0000"}'),
        ("configuration", '{"x": "' + "y" * 9_000 + '"}'),
    ],
)
def test_what_is_no_configuration_is_refused(
    client: Client, device: Device, announced: Announced, field: str, value: str
) -> None:
    announced.clear()
    form = form_of(name="Beta", external_id="PRESS-002", device_type="sensor") | {field: value}
    response = client.post(f"{list_of('device')}add/", form)
    assert response.status_code == 200
    assert field in response.context["adminform"].form.errors
    assert Device.objects.count() == 1
    assert not announced


def test_a_form_saves_what_it_changed_and_keeps_from_what_to_what(
    client: Client, device: Device, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row changes between Django's reading of it for the form and the save."""
    save_model = DeviceAdmin.save_model

    def save_late(self: DeviceAdmin, request: Any, obj: Device, *args: Any) -> None:
        Device.objects.filter(pk=obj.pk).update(model="ST-T1000")
        mark_alive(obj.pk, now=LATER)
        save_model(self, request, obj, *args)

    monkeypatch.setattr(DeviceAdmin, "save_model", save_late)
    form = form_of(device, location="Zone B", metadata='{"rack": 4}')
    assert client.post(page_of(device), form).status_code == 302
    device.refresh_from_db()
    assert (device.location, device.metadata) == ("Zone B", {"rack": 4})
    assert (device.status, device.last_seen, device.model) == ("online", LATER, "ST-T1000")
    assert device.updated_at > NOW
    assert LogEntry.objects.get().user == operator
    assert history_of(device) == [
        "Changed location from nothing to “Zone B”, metadata from “{}” to “{'rack': 4}”."
    ]


def test_a_page_that_changed_nothing_announces_nothing(
    client: Client, device: Device, announced: Announced
) -> None:
    announced.clear()
    assert client.post(page_of(device), form_of(device)).status_code == 302
    assert not announced


def test_state_is_not_edited(client: Client, device: Device, announced: Announced) -> None:
    announced.clear()
    forged = form_of(
        device, status="online", is_active="", last_seen_0="2026-01-01", account="1", id="7"
    )
    assert client.post(page_of(device), forged).status_code == 302
    device.refresh_from_db()
    assert (device.status, device.is_active, device.last_seen) == ("offline", True, None)
    assert device.account is None
    assert not announced


def test_a_device_is_never_deleted(client: Client, administrator: User, device: Device) -> None:
    for each in (client, signed_in(administrator)):
        url = page_of(device, "delete")
        assert each.post(url, {"post": "yes"}).status_code == 403
        post_action(each, "delete_selected", device, post="yes")
    assert Device.objects.count() == 1


# --- status ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["online", "warning", "error", "maintenance"])
def test_a_status_is_set_announced_and_kept(
    client: Client, device: Device, announced: Announced, status: str
) -> None:
    announced.clear()
    assert act(client, f"set_{status}", device) == [
        f"{device}: set status from offline to {status}."
    ]
    device.refresh_from_db()
    assert (device.status, device.status_reason) == (status, "set by operator")
    assert names(announced) == ["device_status_changed"]
    assert history_of(device) == [f"Set status from offline to {status}."]


def test_each_device_is_told_of_on_its_own(client: Client, device: Device) -> None:
    other = a_device("PRESS-002")
    mark_alive(other.pk, now=NOW)
    assert sorted(act(client, "set_offline", device, other)) == sorted(
        [f"{device}: it is offline already.", f"{other}: set status from online to offline."]
    )
    assert history_of(device) == []


# --- commands -------------------------------------------------------------------------


def test_a_command_is_asked_for_and_queued_for_each(
    client: Client, device: Device, operator: User, announced: Announced
) -> None:
    other = a_device("PRESS-002")
    announced.clear()
    page = post_action(client, "send_command", device, other).content.decode()
    assert str(device) in page
    assert str(other) in page
    assert not Command.objects.exists()

    asked = {"command": "restart", "parameters": '{"delay": 5}', "seconds": "60"}
    assert len(act(client, "send_command", device, other, **asked)) == 2
    for command in Command.objects.all():
        assert (command.command, command.parameters) == ("restart", {"delay": 5})
        assert (command.status, command.created_by) == ("pending", operator)
        assert (command.expires_at - command.created_at).total_seconds() == 60
    assert names(announced) == ["command_issued", "command_issued"]
    command = device.commands.get()
    assert history_of(device) == [f"Sent command {command.pk}: restart {{'delay': 5}}."]
    assert client.get(page_of(command)).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [
        {"command": ""},
        {"command": "x" * 201},
        {"command": "restart", "parameters": "[]"},
        {"command": "restart", "seconds": "0"},
    ],
)
def test_a_command_that_is_none_is_asked_for_again(
    client: Client, device: Device, asked: dict[str, str]
) -> None:
    response = post_action(client, "send_command", device, **asked)
    assert response.context["form"].errors
    assert not Command.objects.exists()


def test_a_command_for_a_device_out_of_service_is_refused(client: Client, device: Device) -> None:
    retire_device(device.pk, now=NOW)
    assert act(client, "send_command", device, command="restart", parameters="") == [
        f"{device}: Device not found."
    ]


# --- tokens ---------------------------------------------------------------------------


def test_a_token_is_shown_once_and_good(client: Client, device: Device) -> None:
    response = post_action(client, "issue_token", device)
    assert "no-store" in response["Cache-Control"]
    (token,) = TOKEN.findall(response.content.decode())
    device.refresh_from_db()
    assert principal_for_token(token).user_id == device.account_id
    assert "eyJ" not in client.get(page_of(device)).content.decode()
    assert history_of(device) == ["Issued a token."]


def test_a_token_may_replace_all_earlier(client: Client, device: Device) -> None:
    (first,) = TOKEN.findall(post_action(client, "issue_token", device).content.decode())
    (second,) = TOKEN.findall(post_action(client, "replace_tokens", device).content.decode())
    assert principal_for_token(second)
    with pytest.raises(BadToken, match="revoked"):
        principal_for_token(first)
    assert history_of(device)[1] == "Issued a token and revoked all earlier."


def test_no_token_is_issued_out_of_service(client: Client, device: Device) -> None:
    retire_device(device.pk, now=NOW)
    page = post_action(client, "issue_token", device).content.decode()
    assert "Device not found" in page
    assert "eyJ" not in page


# --- alerts, service ------------------------------------------------------------------


def test_a_test_alert_is_raised(client: Client, device: Device, announced: Announced) -> None:
    announced.clear()
    (told,) = act(client, "raise_test_alert", device)
    alert = Alert.objects.get()
    assert told == f"{device}: raised test alert {alert.pk}."
    assert (alert.device, alert.severity, alert.alert_type) == (device, "info", "manual")
    assert "operator" in alert.message
    assert names(announced) == ["alert_raised"]


def test_a_device_is_taken_out_of_service_and_put_back(client: Client, device: Device) -> None:
    an_alert(device)
    assert act(client, "retire", device) == [f"{device}: taken out of service."]
    device.refresh_from_db()
    assert not device.is_active
    assert act(client, "retire", device) == [f"{device}: Device not found."]
    assert act(client, "restore", device) == [f"{device}: put back into service."]
    device.refresh_from_db()
    assert device.is_active
    assert history_of(device) == ["Taken out of service.", "Put back into service."]


# --- who may --------------------------------------------------------------------------

ACTIONS = [
    "set_error",
    "send_command",
    "issue_token",
    "replace_tokens",
    "raise_test_alert",
    "retire",
]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_viewer_looks_and_does_nothing(
    viewer: User, device: Device, announced: Announced, action: str
) -> None:
    announced.clear()
    client = signed_in(viewer)
    assert client.get(page_of(device)).status_code == 200
    assert client.post(page_of(device), form_of(device, name="mine")).status_code == 403
    assert client.get(f"{list_of('device')}add/").status_code == 403
    page = post_action(client, action, device, command="restart", parameters="{}")
    assert "eyJ" not in page.content.decode()
    url = command_page_of(device)
    assert client.get(url).status_code == 403
    assert not announced
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_is_done_by_a_get(
    client: Client, device: Device, announced: Announced, action: str
) -> None:
    announced.clear()
    query = {"action": action, "_selected_action": device.pk, "command": "restart"}
    client.get(list_of("device"), query)
    client.get(command_page_of(device), query)
    assert not announced


@pytest.mark.parametrize(
    ("codename", "action"),
    [("add_command", "send_command"), ("change_alert", "raise_test_alert")],
)
def test_an_action_needs_the_permission_for_what_it_makes(
    client: Client, device: Device, announced: Announced, codename: str, action: str
) -> None:
    group = Role.objects.get(name=roles.OPERATOR).group
    group.permissions.remove(group.permissions.get(codename=codename))
    announced.clear()
    post_action(client, action, device, command="restart", parameters="{}")
    assert not announced


def test_what_was_recorded_is_not_edited(
    administrator: User, device: Device, operator: User
) -> None:
    mark_alive(device.pk, now=NOW)
    command = Command.objects.create(device=device, command="x", expires_at=timezone.now())
    client = signed_in(administrator)
    for row in (StatusChange.objects.get(), command):
        assert client.post(page_of(row), {"reason": "x"}).status_code == 403
        assert client.post(page_of(row, "delete")).status_code == 403
        assert client.get(f"{list_of(row._meta.model_name)}add/").status_code == 403


def test_a_surgeon_has_no_business_there(surgeon: User) -> None:
    assert signed_in(surgeon).get(list_of("device")).status_code == 302
