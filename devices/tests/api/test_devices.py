"""Devices over REST: what the document's clients send, what they get, who may."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from devices.models import Device
from devices.services.commands import queue_command
from devices.services.devices import change_status, retire_device
from devices.tests.builders import NOW, Announced, a_device, body_of, names

ClientOf = Callable[[User], APIClient]

ROOT = "/api/v1/devices"
NEW = {
    "name": "Temperature Sensor Alpha",
    "device_id": "TEMP-001",
    "device_type": "sensor",
    "manufacturer": "SensorTech",
    "model": "ST-T1000",
    "firmware_version": "2.1.4",
    "location": "Zone A - Server Room",
}
KEYS = [
    *NEW,
    "id",
    "status",
    "is_active",
    "created_at",
    "updated_at",
    "last_seen",
]
INVALID_STATUS = {
    "detail": "Invalid status. Must be: online, offline, warning, error, or maintenance"
}


# --- Registering ----------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_device_is_registered_and_starts_offline(client: APIClient, slash: str) -> None:
    response = client.post(f"{ROOT}{slash}", NEW, format="json")
    assert response.status_code == 201
    body = body_of(response)
    assert list(body) == KEYS
    assert {name: body[name] for name in NEW} == NEW
    assert (body["status"], body["is_active"], body["last_seen"]) == ("offline", True, None)
    assert "+" not in body["created_at"]
    assert Device.objects.get(pk=body["id"]).external_id == "TEMP-001"


def test_what_is_not_asked_for_is_ignored(client: APIClient) -> None:
    new = {**NEW, "status": "online", "metadata": {"a": 1}, "id": 99, "model": None}
    body = body_of(client.post(ROOT, new, format="json"))
    assert (body["status"], body["model"], body["id"] != 99) == ("offline", None, True)


def test_only_three_fields_are_required(client: APIClient) -> None:
    response = client.post(ROOT, {}, format="json")
    assert response.status_code == 422
    assert body_of(response) == {
        "detail": [
            {"type": "missing", "loc": ["body", name], "msg": "Field required", "input": {}}
            for name in ("name", "device_id", "device_type")
        ]
    }


def test_an_id_in_service_is_taken(client: APIClient) -> None:
    client.post(ROOT, NEW, format="json")
    response = client.post(ROOT, NEW, format="json")
    assert response.status_code == 400
    assert body_of(response) == {"detail": "Device ID already exists"}


def test_the_id_of_a_device_out_of_service_is_free(client: APIClient) -> None:
    first = body_of(client.post(ROOT, NEW, format="json"))["id"]
    client.delete(f"{ROOT}/{first}")
    assert client.post(ROOT, NEW, format="json").status_code == 201


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("name", "", "string_too_short"),
        ("name", " ", "string_too_short"),
        ("name", "x" * 101, "string_too_long"),
        ("name", 5, "string_type"),
        ("name", None, "string_type"),
        ("name", ["x"], "string_type"),
        ("name", "a\0b", "string_control_characters"),
        ("name", "a\x1bb", "string_control_characters"),
        ("device_id", "a\nb", "string_control_characters"),
        ("device_type", "x" * 51, "string_too_long"),
        ("manufacturer", "x" * 101, "string_too_long"),
        ("firmware_version", "x" * 51, "string_too_long"),
        ("location", "x" * 201, "string_too_long"),
        ("location", "\0", "string_control_characters"),
    ],
)
def test_a_bad_field_is_named(client: APIClient, field: str, value: Any, kind: str) -> None:
    response = client.post(ROOT, {**NEW, field: value}, format="json")
    assert response.status_code == 422
    [wrong] = body_of(response)["detail"]
    assert (wrong["type"], wrong["loc"]) == (kind, ["body", field])


@pytest.mark.parametrize("raw", ["", "{", "[]", '"x"', "5", "null", '{"name": NaN}', "[" * 5000])
def test_a_body_that_is_no_object_is_refused(client: APIClient, raw: str) -> None:
    response = client.post(ROOT, raw, content_type="application/json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"][0] == "body"


def test_half_a_character_is_refused_and_echoed_safely(client: APIClient) -> None:
    raw = '{"name": "\\ud800", "device_id": "x", "device_type": "sensor"}'
    response = client.post(ROOT, raw, content_type="application/json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["input"] == "?"


def test_a_body_of_another_type_is_refused(client: APIClient) -> None:
    response = client.post(ROOT, "name=x", content_type="application/x-www-form-urlencoded")
    assert response.status_code == 415
    assert "detail" in body_of(response)


# --- Listing --------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_list_shows_devices_in_service(client: APIClient, slash: str) -> None:
    first, second, gone = (a_device(external_id=f"D-{n}") for n in range(3))
    retire_device(gone.pk, now=NOW)
    body = body_of(client.get(f"{ROOT}{slash}"))
    assert [item["id"] for item in body] == [first.pk, second.pk]
    assert list(body[0]) == KEYS


def test_the_list_is_paged(client: APIClient) -> None:
    ids = [a_device(external_id=f"D-{n}").pk for n in range(5)]

    def listed(**query: int) -> list[int]:
        return [item["id"] for item in body_of(client.get(ROOT, query))]

    assert listed(skip=1, limit=2) == ids[1:3]
    assert listed(limit=1000) == ids
    assert listed(skip=10_000_000) == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "skip=-1", "skip=1.5", "skip=" + "9" * 40]
)
def test_a_page_out_of_range_is_refused(client: APIClient, query: str) -> None:
    response = client.get(f"{ROOT}?{query}")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"] == ["query", query.partition("=")[0]]


def test_the_list_costs_the_same_for_one_and_for_many(
    client: APIClient, django_assert_num_queries: Any
) -> None:
    for n in range(20):
        a_device(external_id=f"D-{n}")
    # The account with its role, the page.
    with django_assert_num_queries(2):
        client.get(ROOT)


@pytest.mark.parametrize("slash", ["", "/"])
def test_statistics_count_by_status_and_by_type(
    client: APIClient, slash: str, django_assert_num_queries: Any
) -> None:
    for n, kind in enumerate(["sensor", "sensor", "gateway"]):
        device = a_device(external_id=f"D-{n}", device_type=kind)
    change_status(device.pk, "error", reason="", now=NOW)
    with django_assert_num_queries(2):
        body = body_of(client.get(f"{ROOT}/stats{slash}"))
    assert body == {
        "total_devices": 3,
        "online_devices": 0,
        "offline_devices": 2,
        "error_devices": 1,
        "warning_devices": 0,
        "maintenance_devices": 0,
        "devices_by_type": {"gateway": 1, "sensor": 2},
    }


@pytest.mark.parametrize("slash", ["", "/"])
def test_devices_are_listed_by_status(client: APIClient, slash: str) -> None:
    a_device(external_id="D-1")
    broken = a_device(external_id="D-2")
    change_status(broken.pk, "error", reason="", now=NOW)
    body = body_of(client.get(f"{ROOT}/status/error{slash}"))
    assert [item["id"] for item in body] == [broken.pk]


def test_an_unknown_status_is_not_listed(client: APIClient) -> None:
    response = client.get(f"{ROOT}/status/asleep")
    assert response.status_code == 400
    assert body_of(response) == INVALID_STATUS


# --- One device -----------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_device_is_shown_with_the_commands_that_wait(
    client: APIClient, device: Device, operator: User, slash: str
) -> None:
    now = timezone.now()
    for seconds, at in ((60, now), (60, now - timedelta(hours=1))):
        queue_command(
            device.pk, command="restart", parameters={}, by=operator, now=at, seconds=seconds
        )
    body = body_of(client.get(f"{ROOT}/{device.pk}{slash}"))
    assert list(body) == [*KEYS, "latest_telemetry", "pending_commands"]
    [waiting] = body["pending_commands"]
    assert (waiting["command"], waiting["status"]) == ("restart", "pending")


@pytest.mark.parametrize("number", ["0", "-1", "999", str(2**63 - 1), str(2**63), "9" * 29])
@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_device_that_is_not_there_is_not_found(
    client: APIClient, method: str, number: str
) -> None:
    response = getattr(client, method)(f"{ROOT}/{number}")
    assert response.status_code == 404
    assert body_of(response) == {"detail": "Device not found"}


@pytest.mark.parametrize("number", ["x", "1.0", "1_0", "%00", "\u0663", "9" * 5000])
def test_an_id_that_is_no_number_is_refused(client: APIClient, number: str) -> None:
    response = client.get(f"{ROOT}/{number}")
    assert response.status_code == 422
    [wrong] = body_of(response)["detail"]
    assert (wrong["type"], wrong["loc"]) == ("int_parsing", ["path", "device_id"])


@pytest.mark.parametrize("slash", ["", "/"])
def test_any_subset_is_updated(
    client: APIClient, device: Device, announced: Announced, slash: str
) -> None:
    response = client.put(
        f"{ROOT}/{device.pk}{slash}", {"name": "Beta", "location": "Roof"}, format="json"
    )
    assert response.status_code == 200
    body = body_of(response)
    assert list(body) == KEYS
    assert (body["name"], body["location"], body["device_type"]) == (
        "Beta",
        "Roof",
        device.device_type,
    )
    assert names(announced) == ["device_changed"]


def test_what_the_settings_page_sends_is_taken_whole(
    client: APIClient, device: Device, announced: Announced
) -> None:
    given = {**NEW, "status": "maintenance", "manufacturer": None}
    body = body_of(client.put(f"{ROOT}/{device.pk}", given, format="json"))
    assert (body["status"], body["manufacturer"]) == ("maintenance", None)
    # The maker's id is not among what can be changed.
    assert body["device_id"] == device.external_id
    assert sorted(names(announced)) == ["device_changed", "device_status_changed"]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"name": ""}, "string_too_short"),
        ({"device_type": ""}, "string_too_short"),
        ({"status": "asleep"}, "enum"),
        ({"status": None}, "enum"),
        ({"status": 5}, "enum"),
    ],
)
def test_a_bad_update_changes_nothing(
    client: APIClient, device: Device, given: dict[str, Any], kind: str
) -> None:
    response = client.put(f"{ROOT}/{device.pk}", {"location": "Roof", **given}, format="json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["type"] == kind
    device.refresh_from_db()
    assert device.location != "Roof"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_device_is_taken_out_of_service_once(
    client: APIClient, device: Device, slash: str
) -> None:
    url = f"{ROOT}/{device.pk}{slash}"
    response = client.delete(url)
    assert (response.status_code, response.content) == (204, b"")
    assert not Device.objects.get(pk=device.pk).is_active
    assert client.delete(url).status_code == 404
    assert client.get(url).status_code == 404


# --- Who may --------------------------------------------------------------------------

READS = ["", "/stats", "/status/online", "/{id}"]


@pytest.mark.parametrize("path", READS)
def test_reading_needs_a_token(device: Device, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        response = APIClient(headers=headers).get(ROOT + path.format(id=device.pk))
        assert response.status_code == 401
        assert "detail" in body_of(response)
        assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", READS)
def test_who_may_read(
    device: Device,
    operator: User,
    administrator: User,
    viewer: User,
    surgeon: User,
    member: User,
    client_of: ClientOf,
    path: str,
) -> None:
    url = ROOT + path.format(id=device.pk)
    for user in (operator, administrator, viewer):
        assert client_of(user).get(url).status_code == 200
    for user in (surgeon, member):
        response = client_of(user).get(url)
        assert response.status_code == 403
        assert "detail" in body_of(response)


def test_a_viewer_changes_nothing(device: Device, viewer: User, client_of: ClientOf) -> None:
    client, url = client_of(viewer), f"{ROOT}/{device.pk}"
    for answer in (
        client.post(ROOT, NEW, format="json"),
        client.put(url, {"name": "x"}, format="json"),
        client.patch(f"{url}/status?status=online"),
        client.delete(url),
    ):
        assert answer.status_code == 403


def test_a_device_has_itself_only(
    device: Device, device_account: User, client_of: ClientOf
) -> None:
    other = a_device(external_id="D-2")
    client = client_of(device_account)
    assert client.get(f"{ROOT}/{device.pk}").status_code == 200
    assert client.patch(f"{ROOT}/{device.pk}/status?status=warning").status_code == 200
    assert client.get(f"{ROOT}/{other.pk}").status_code == 403
    assert client.patch(f"{ROOT}/{other.pk}/status?status=warning").status_code == 403
    assert client.get(ROOT).status_code == 403
    assert client.put(f"{ROOT}/{device.pk}", {"name": "x"}, format="json").status_code == 403
    assert client.delete(f"{ROOT}/{device.pk}").status_code == 403


def test_the_other_methods_are_not_allowed(client: APIClient, device: Device) -> None:
    for method, path in (("delete", ROOT), ("post", f"{ROOT}/{device.pk}")):
        response = getattr(client, method)(path)
        assert response.status_code == 405
        assert body_of(response) == {"detail": "Method Not Allowed"}
