"""Readings written out over REST: both formats, by a process of their own."""

import csv
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tokens import issue_access
from devices import export, exporting
from devices.models import Device
from devices.services.devices import retire_device
from devices.tests.api.readings import NOON, ROOT, ClientOf, stored
from devices.tests.builders import NOW, a_device, parts_of

# The process that writes sees what is committed only.
pytestmark = pytest.mark.django_db(transaction=True)

NAMES = list(exporting.Line.__struct_fields__)


def lines_of(response: Any) -> list[str]:
    assert response.status_code == 200
    return response.getvalue().decode().splitlines()


def rows_of(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(response)]


def path_of(device: Device) -> str:
    return f"{ROOT}/devices/{device.pk}/telemetry/export"


def test_readings_are_written_as_csv_unless_asked(client: APIClient, device: Device) -> None:
    stored(device, 1.5, 1 / 3, start=NOON)
    stored(a_device(external_id="D-2"), 5)
    response = client.get(path_of(device))
    assert response["Content-Type"].startswith("text/csv")
    assert response["Content-Disposition"] == 'attachment; filename="readings.csv"'
    rows = list(csv.DictReader(lines_of(response)))
    assert list(rows[0]) == NAMES
    assert [float(row["metric_value"]) for row in rows] == [1.5, 1 / 3]
    assert (rows[0]["device_id"], rows[0]["unit"]) == (str(device.pk), "°C")


def test_every_path_writes_the_same_json_lines(client: APIClient, device: Device) -> None:
    stored(device, 1e308, start=NOON)
    stored(a_device(external_id="D-2"), 5)
    for path in (
        f"{path_of(device)}?",
        f"{path_of(device)}/?",
        f"{ROOT}/telemetry/export?device_id={device.pk}&",
        f"{ROOT}/telemetry/export/?device_id={device.pk}&",
    ):
        response = client.get(f"{path}format=jsonl")
        assert response["Content-Type"] == "application/x-ndjson"
        [row] = rows_of(response)
        assert list(row) == NAMES
        assert (row["metric_value"], row["timestamp"]) == (1e308, "2026-03-05T12:00:00Z")


def test_an_export_can_be_narrowed(client: APIClient, device: Device) -> None:
    stored(device, *range(5), start=NOON)
    stored(device, 9, metric="humidity", start=NOON)
    rows = rows_of(
        client.get(
            path_of(device),
            {
                "format": "jsonl",
                "metric": "temperature",
                "start_time": "2026-03-05T12:01:00Z",
                "end_time": "2026-03-05T12:03:00Z",
            },
        )
    )
    assert [row["metric_value"] for row in rows] == [1, 2]


def test_without_a_device_all_in_service_are_exported(
    client: APIClient, device: Device, device_account: User, client_of: ClientOf
) -> None:
    gone, other = a_device(external_id="D-2"), a_device(external_id="D-3")
    stored(gone, 1)
    stored(other, 2)
    retire_device(gone.pk, now=NOW)
    stored(device, 3)
    path = f"{ROOT}/telemetry/export?format=jsonl"
    assert [row["metric_value"] for row in rows_of(client.get(path))] == [3, 2]
    # Of all devices a device sees itself.
    assert [row["metric_value"] for row in rows_of(client_of(device_account).get(path))] == [3]


@pytest.mark.parametrize("query", ["format=xlsx", "start_time=x", "metric=%00"])
def test_a_bad_question_is_refused(client: APIClient, device: Device, query: str) -> None:
    for path in (path_of(device), f"{ROOT}/telemetry/export"):
        assert client.get(f"{path}?{query}").status_code == 422


@pytest.mark.parametrize(("number", "code"), [("999", 404), (str(2**63), 404), ("x", 422)])
def test_an_export_needs_a_device_that_is_there(client: APIClient, number: str, code: int) -> None:
    assert client.get(f"{ROOT}/devices/{number}/telemetry/export").status_code == code
    response = client.get(f"{ROOT}/telemetry/export?device_id={number}")
    assert response.status_code in (code, 422)


def test_one_export_too_many_is_told_to_come_again(client: APIClient, device: Device) -> None:
    stored(device, 1)
    running = [client.get(path_of(device)) for _ in range(export.EXPORTS_AT_ONCE)]
    response = client.get(path_of(device))
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    # Closing an answer that nobody read ends its process, and lets the next one in.
    for each in running:
        each.close()
    assert len(lines_of(client.get(path_of(device)))) == 2


def test_who_may_export(
    device: Device, viewer: User, device_account: User, surgeon: User, client_of: ClientOf
) -> None:
    stored(device, 1)
    other = a_device(external_id="D-2")
    for user in (viewer, device_account):
        assert len(lines_of(client_of(user).get(path_of(device)))) == 2
    assert client_of(device_account).get(path_of(other)).status_code == 403
    assert client_of(surgeon).get(path_of(device)).status_code == 403
    assert APIClient().get(path_of(device)).status_code == 401


async def test_an_export_is_streamed_under_asgi_too(device: Device, operator: User) -> None:
    await sync_to_async(stored)(device, *range(2_000))
    response = await AsyncClient().get(
        f"{path_of(device)}?format=jsonl",
        headers={"Authorization": f"Bearer {issue_access(operator)}"},
    )
    parts = await parts_of(response)
    assert len(parts) > 1
    assert b"".join(parts).count(b"\n") == 2_000
