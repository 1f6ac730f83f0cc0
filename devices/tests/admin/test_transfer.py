"""Devices and rules go into files and come back: all of a file or nothing, through services."""

import csv
import json
import tempfile
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from accounts.models import User
from devices.admin import transfer
from devices.models import AlertRule, Device
from devices.services.devices import mark_alive, retire_device
from devices.tests.admin.pages import list_of, signed_in
from devices.tests.builders import NOW, Announced, a_device, a_rule, names

CSV, JSON = 0, 1
RULE_HEAD = "name,device,device_type,metric,condition,threshold\n"
HEAD = "external_id,name,device_type,location,silence_seconds,metadata\n"


@pytest.fixture
def client(operator: User) -> Client:
    return signed_in(operator)


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uploads wait for being confirmed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def exported(client: Client, model: str = "device", form: int = CSV, query: str = "") -> str:
    response = client.post(
        f"{list_of(model)}export/{query}", {"format": str(form), "resource": "0"}
    )
    assert response.status_code == 200
    return response.content.decode()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


def upload(
    client: Client, content: str | bytes, model: str = "device", form: int = CSV
) -> HttpResponse:
    """Show what a file would change."""
    data = content.encode() if isinstance(content, str) else content
    file = SimpleUploadedFile("file.csv", data)
    return client.post(
        f"{list_of(model)}import/", {"import_file": file, "format": str(form), "resource": "0"}
    )


def confirm(client: Client, preview: HttpResponse, model: str = "device") -> HttpResponse:
    form = preview.context["confirm_form"].initial
    return client.post(f"{list_of(model)}process_import/", form, follow=True)


def imported(client: Client, content: str, model: str = "device", form: int = CSV) -> None:
    response = confirm(client, upload(client, content, model, form), model)
    assert response.redirect_chain


def complaints(response: HttpResponse) -> str:
    """Return what is wrong with an uploaded file; it cannot be confirmed."""
    assert response.status_code == 200
    assert "confirm_form" not in response.context
    return response.content.decode()


# --- export ---------------------------------------------------------------------------


def test_devices_are_exported_without_their_state(client: Client) -> None:
    a_device("TEMP-001", location="Zone A", silence_seconds=30, metadata={"rack": 4})
    (row,) = table(exported(client))
    assert row["external_id"] == "TEMP-001"
    assert (row["location"], row["silence_seconds"]) == ("Zone A", "30")
    assert json.loads(row["metadata"]) == {"rack": 4}
    assert row.keys().isdisjoint({"id", "status", "last_seen", "account", "is_active"})
    assert json.loads(exported(client, form=JSON))[0]["external_id"] == "TEMP-001"


def test_what_the_list_is_narrowed_to_is_exported(client: Client) -> None:
    a_device("TEMP-001")
    a_device("FLOW-003", device_type="actuator")
    rows = table(exported(client, query="?device_type=actuator"))
    assert [row["external_id"] for row in rows] == ["FLOW-003"]


def test_no_exported_cell_is_a_formula_and_numbers_stay_numbers(client: Client) -> None:
    a_device("=1+1", name="@SUM(A1)", location="-2+3", manufacturer="\t=1")
    a_rule(threshold=-5.0, name="=HYPERLINK(1)")
    (device,) = table(exported(client))
    assert device["external_id"] == "'=1+1"
    assert device["name"] == "'@SUM(A1)"
    assert device["location"] == "'-2+3"
    assert device["manufacturer"] == "'\t=1"
    (rule,) = table(exported(client, "alertrule"))
    assert (rule["name"], rule["threshold"]) == ("'=HYPERLINK(1)", "-5.0")


# --- import ---------------------------------------------------------------------------


def test_a_file_is_shown_before_it_is_imported(
    client: Client, device: Device, announced: Announced
) -> None:
    announced.clear()
    content = f"{HEAD}TEMP-001,Alpha,sensor,Zone A,,\nPRESS-002,Beta,sensor,,60,\n"
    preview = upload(client, content)
    assert "confirm_form" in preview.context
    assert Device.objects.count() == 1
    # What was announced was rolled back with the rest of the rehearsal.
    announced.clear()
    confirm(client, preview)
    assert Device.objects.count() == 2
    assert names(announced) == ["device_changed", "device_changed"]


def test_an_imported_row_changes_configuration_and_no_state(
    client: Client, device: Device, operator: User
) -> None:
    mark_alive(device.pk, now=NOW)
    imported(client, f'{HEAD}TEMP-001,Alpha,sensor,Zone A,30,"{{""rack"": 4}}"\n')
    device.refresh_from_db()
    assert (device.name, device.location, device.silence_seconds) == ("Alpha", "Zone A", 30)
    assert (device.metadata, device.status, device.last_seen) == ({"rack": 4}, "online", NOW)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (operator, str(device.pk))
    assert entry.get_change_message() == (
        "Changed name from “Sensor TEMP-001” to “Alpha”, location from nothing to “Zone A”, "
        "silence seconds from nothing to “30”, metadata from “{}” to “{'rack': 4}”. By import."
    )


def test_a_new_row_is_registered(client: Client, announced: Announced) -> None:
    imported(client, f"{HEAD}TEMP-001,Alpha,sensor,,,\n")
    device = Device.objects.get()
    assert (device.name, device.status, device.metadata) == ("Alpha", "offline", {})
    assert LogEntry.objects.get().object_id == str(device.pk)
    assert LogEntry.objects.get().get_change_message() == "Imported."


def test_a_device_out_of_service_is_left_alone(client: Client, device: Device) -> None:
    retire_device(device.pk, now=NOW)
    imported(client, f"{HEAD}TEMP-001,Alpha,sensor,,,\n")
    device.refresh_from_db()
    assert device.name != "Alpha"
    assert Device.objects.filter(external_id="TEMP-001").count() == 2


@pytest.mark.parametrize("form", [CSV, JSON])
def test_what_was_exported_changes_nothing_when_it_is_imported(
    client: Client, announced: Announced, form: int
) -> None:
    a_device("=1+1", name="'=x", location="-2+3", metadata={"rack": "=4"}, silence_seconds=30)
    a_rule(a_device("TEMP-001"), name="+warm", threshold=-5.0, clear_threshold=-6.0)
    a_rule(device_type="sensor", is_active=False)
    for model in ("device", "alertrule"):
        content = exported(client, model, form)
        announced.clear()
        imported(client, content, model, form)
        assert not announced
    assert not LogEntry.objects.exists()
    assert (Device.objects.count(), AlertRule.objects.count()) == (2, 2)


def test_what_was_exported_makes_the_same_elsewhere(client: Client) -> None:
    device = a_device("=1+1", name="'=x", location="-2+3", metadata={"rack": "=4"})
    a_rule(device, name="+warm", threshold=-5.0, severity="critical", resolves_itself=False)
    devices, rules = exported(client), exported(client, "alertrule")
    Device.objects.all().delete()
    imported(client, devices)
    imported(client, rules, "alertrule")
    again = Device.objects.get()
    assert (again.external_id, again.name, again.location) == ("=1+1", "'=x", "-2+3")
    assert again.metadata == {"rack": "=4"}
    rule = AlertRule.objects.get()
    assert (rule.device, rule.name, rule.threshold) == (again, "+warm", -5.0)
    assert (rule.severity, rule.resolves_itself) == ("critical", False)


def test_a_changed_rule_is_found_by_what_it_is_about(
    client: Client, device: Device, announced: Announced
) -> None:
    rule, other = a_rule(device), a_rule()
    content = exported(client, "alertrule").replace("30.0", "31.5", 1)
    announced.clear()
    imported(client, content, "alertrule")
    rule.refresh_from_db()
    other.refresh_from_db()
    assert (rule.threshold, other.threshold) == (31.5, 30.0)
    assert LogEntry.objects.get().get_change_message() == (
        "Changed threshold from “30.0” to “31.5”. By import."
    )


@pytest.mark.parametrize(
    "bad",
    [
        ",Beta,sensor,,,",
        "PRESS-002,,sensor,,,",
        "PRESS-002,Beta,sensor,,soon,",
        "PRESS-002,Beta,sensor,,0,",
        "PRESS-002,Beta,sensor,,,[1]",
        "PRESS-002,Beta,sensor,,,{",
        f"PRESS-002,{'x' * 101},sensor,,,",
    ],
)
def test_one_bad_row_refuses_the_whole_file(client: Client, announced: Announced, bad: str) -> None:
    good = "TEMP-001,Alpha,sensor,,,"
    complaints(upload(client, f"{HEAD}{good}\n{bad}\n"))
    assert "confirm_form" in upload(client, f"{HEAD}{good}\n").context
    assert not Device.objects.exists()
    assert not LogEntry.objects.exists()


def test_what_became_wrong_before_it_was_confirmed_changes_nothing(
    client: Client, announced: Announced
) -> None:
    device = a_device("TEMP-001")
    rules = f"{RULE_HEAD}Cold,,,temperature,lt,5\nWarm,TEMP-001,,temperature,gt,30\n"
    preview = upload(client, rules, "alertrule")
    retire_device(device.pk, now=NOW)
    page = confirm(client, preview, "alertrule").content.decode()
    assert "Nothing was imported" in page
    assert "Import finished" not in page
    assert not AlertRule.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    "rule",
    [
        "Warm,NOWHERE,,temperature,gt,30",
        "Warm,,,temperature,about,30",
        "Warm,,,,gt,30",
        "Warm,,,temperature,gt,warm",
        "Warm,,,temperature,gt,nan",
        "Warm,,,temperature,absent,0",
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(client: Client, rule: str) -> None:
    good = "Cold,,,temperature,lt,5"
    complaints(upload(client, f"{RULE_HEAD}{good}\n{rule}\n", "alertrule"))
    assert not AlertRule.objects.exists()
    assert "confirm_form" in upload(client, f"{RULE_HEAD}{good}\n", "alertrule").context


@pytest.mark.parametrize(
    "content", ["", "name\nAlpha\n", b"\xff\xfe\x00", '{"not": "a table"}', "\0"]
)
def test_what_is_no_table_of_devices_is_refused(client: Client, content: str | bytes) -> None:
    complaints(upload(client, content))
    assert not Device.objects.exists()


def test_a_file_has_a_size_and_a_number_of_rows(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "ROWS_MAX", 2)
    rows = "".join(f"D-{number},x,sensor,,,\n" for number in range(3))
    assert "At most 2 rows" in complaints(upload(client, HEAD + rows))
    monkeypatch.setattr(transfer, "FILE_BYTES_MAX", 10)
    assert "At most 10 bytes" in complaints(upload(client, HEAD + rows))


def test_no_file_but_an_upload_is_opened_or_removed(client: Client, uploads: Path) -> None:
    secret = uploads / "secret"
    secret.write_text(HEAD)
    for name in ("secret", "../secret", str(secret)):
        form = {"import_file_name": name, "original_file_name": "x", "format": "0", "resource": "0"}
        response = client.post(f"{list_of('device')}process_import/", form)
        assert response.status_code == 400
    assert secret.exists()


def test_an_imported_upload_is_removed(client: Client, uploads: Path) -> None:
    imported(client, f"{HEAD}TEMP-001,Alpha,sensor,,,\n")
    assert list(uploads.iterdir()) == []


def test_a_viewer_exports_and_does_not_import(viewer: User, device: Device) -> None:
    client = signed_in(viewer)
    assert len(table(exported(client))) == 1
    form: dict[str, Any] = {"import_file_name": "x", "original_file_name": "x", "format": "0"}
    for model in ("device", "alertrule"):
        assert client.get(f"{list_of(model)}import/").status_code == 403
        assert client.post(f"{list_of(model)}process_import/", form).status_code == 403


def test_a_surgeon_does_neither(surgeon: User) -> None:
    client = signed_in(surgeon)
    for page in ("import/", "export/"):
        assert client.get(list_of("device") + page).status_code == 302


def test_the_pages_open(client: Client) -> None:
    for model in ("device", "alertrule"):
        for page in ("", "import/", "export/"):
            assert client.get(list_of(model) + page).status_code == 200
