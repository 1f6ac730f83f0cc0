"""Commands over REST: queued by people, ended by whoever knows how they went."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from devices.models import Command, Device
from devices.services.commands import queue_command
from devices.tests.builders import NOW, Announced, a_device, body_of, names

ClientOf = Callable[[User], APIClient]

ROOT = "/api/v1"
KEYS = ["command", "parameters", "id", "device_id", "status", "created_at", "executed_at"]


def a_command(device: Device, command: str = "restart", **options: Any) -> Command:
    now = options.pop("now", timezone.now())
    return queue_command(device.pk, command=command, parameters={}, by=None, now=now, **options)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("given", [{}, {"device_id": 7}, {"device_id": None}])
def test_a_command_is_queued(
    client: APIClient, device: Device, announced: Announced, given: dict[str, Any], slash: str
) -> None:
    body = {"command": "adjust_flow_rate", "parameters": {"rate": 1.5, "to": ["a"]}, **given}
    response = client.post(f"{ROOT}/devices/{device.pk}/commands{slash}", body, format="json")
    assert response.status_code == 201
    answer = body_of(response)
    assert list(answer) == KEYS
    assert answer["parameters"] == {"rate": 1.5, "to": ["a"]}
    assert (answer["device_id"], answer["status"]) == (device.pk, "pending")
    assert answer["executed_at"] is None
    assert names(announced)[-1:] == ["command_issued"]


@pytest.mark.parametrize("given", [{}, {"parameters": None}, {"parameters": {}}])
def test_parameters_may_be_left_out(
    client: APIClient, device: Device, given: dict[str, Any]
) -> None:
    url = f"{ROOT}/devices/{device.pk}/commands"
    answer = body_of(client.post(url, {"command": "restart", **given}, format="json"))
    assert answer["parameters"] == {}


def _nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"command": None}, "string_type"),
        ({"command": ""}, "string_too_short"),
        ({"command": "x" * 201}, "string_too_long"),
        ({"command": "a\0b"}, "string_control_characters"),
        ({"parameters": "rate=1"}, "dict_type"),
        ({"parameters": [1]}, "dict_type"),
        ({"parameters": {"a": "\0"}}, "string_control_characters"),
        ({"parameters": {"\0": 1}}, "string_control_characters"),
        ({"parameters": {"a": ["x" * 9000]}}, "dict_too_long"),
        ({"parameters": _nested(30)}, "dict_too_deep"),
        ({"device_id": 2**63}, "less_than_equal"),
        ({"device_id": "x"}, "int_parsing"),
    ],
)
def test_a_bad_command_is_refused(
    client: APIClient, device: Device, given: dict[str, Any], kind: str
) -> None:
    url = f"{ROOT}/devices/{device.pk}/commands"
    response = client.post(url, {"command": "restart", **given}, format="json")
    assert response.status_code == 422
    [wrong] = body_of(response)["detail"]
    assert (wrong["type"], wrong["loc"]) == (kind, ["body", next(iter(given))])
    assert not Command.objects.exists()


def test_a_number_too_large_for_json_is_refused(client: APIClient, device: Device) -> None:
    response = client.post(
        f"{ROOT}/devices/{device.pk}/commands",
        '{"command": "x", "parameters": {"a": 1e999}}',
        content_type="application/json",
    )
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["type"] == "finite_number"


@pytest.mark.parametrize("slash", ["", "/"])
def test_what_waits_is_listed_oldest_first(
    client: APIClient, device: Device, slash: str, django_assert_num_queries: Any
) -> None:
    first, second = (a_command(device, name) for name in ("one", "two"))
    a_command(device, "three", now=NOW)
    a_command(a_device(external_id="D-2"))
    # The account, the device, its commands.
    with django_assert_num_queries(3):
        body = body_of(client.get(f"{ROOT}/devices/{device.pk}/commands{slash}"))
    assert [item["id"] for item in body] == [first.pk, second.pk]
    first.refresh_from_db()
    assert first.status == "pending"


PATHS = ["/commands/{}/status", "/devices/commands/{}/status"]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", PATHS)
def test_a_command_is_ended_by_query_or_by_body(
    client: APIClient, device: Device, path: str, slash: str
) -> None:
    by_query, by_body = a_command(device), a_command(device)
    answer = client.patch(f"{ROOT}{path.format(by_query.pk)}{slash}?status=executed")
    assert answer.status_code == 200
    body = body_of(answer)
    assert list(body) == KEYS
    assert (body["status"], body["executed_at"] is not None) == ("executed", True)
    given = {"status": "failed", "result": {"error": "stuck"}}
    answer = client.patch(f"{ROOT}{path.format(by_body.pk)}{slash}", given, format="json")
    assert body_of(answer)["status"] == "failed"
    by_body.refresh_from_db()
    assert by_body.result == {"error": "stuck"}


def test_the_same_end_twice_is_one_end(client: APIClient, device: Device) -> None:
    url = f"{ROOT}/commands/{a_command(device).pk}/status"
    assert client.patch(f"{url}?status=executed").status_code == 200
    assert client.patch(f"{url}?status=executed").status_code == 200
    response = client.patch(f"{url}?status=failed")
    assert response.status_code == 409
    assert "detail" in body_of(response)


@pytest.mark.parametrize("status", ["done", "pending", "sent", "expired"])
def test_a_command_ends_in_two_ways_only(client: APIClient, device: Device, status: str) -> None:
    response = client.patch(f"{ROOT}/commands/{a_command(device).pk}/status?status={status}")
    assert response.status_code == 400
    assert body_of(response) == {"detail": "Invalid status. Must be: executed or failed"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("number", "code"), [("999", 404), (str(2**63), 404), ("0", 404), ("x", 422)]
)
def test_a_command_that_is_not_there_is_not_found(
    client: APIClient, path: str, number: str, code: int
) -> None:
    response = client.patch(f"{ROOT}{path.format(number)}?status=executed")
    assert response.status_code == code
    if code == 404:
        assert body_of(response) == {"detail": "Command not found"}


def test_an_end_has_to_say_which(client: APIClient, device: Device) -> None:
    response = client.patch(f"{ROOT}/commands/{a_command(device).pk}/status")
    assert response.status_code == 422


def test_a_device_ends_its_own_commands_only(
    device: Device, device_account: User, client_of: ClientOf
) -> None:
    client = client_of(device_account)
    other = a_device(external_id="D-2")
    own, theirs = a_command(device), a_command(other)
    assert client.get(f"{ROOT}/devices/{device.pk}/commands").status_code == 200
    assert client.get(f"{ROOT}/devices/{other.pk}/commands").status_code == 403
    assert client.patch(f"{ROOT}/commands/{own.pk}/status?status=executed").status_code == 200
    assert client.patch(f"{ROOT}/commands/{theirs.pk}/status?status=executed").status_code == 403
    given = {"command": "restart"}
    url = f"{ROOT}/devices/{device.pk}/commands"
    assert client.post(url, given, format="json").status_code == 403


def test_a_viewer_looks_only(device: Device, viewer: User, client_of: ClientOf) -> None:
    client, url = client_of(viewer), f"{ROOT}/devices/{device.pk}/commands"
    assert client.get(url).status_code == 200
    assert client.post(url, {"command": "restart"}, format="json").status_code == 403
    command = a_command(device)
    assert client.patch(f"{ROOT}/commands/{command.pk}/status?status=failed").status_code == 403


def test_nobody_commands_without_a_token(device: Device) -> None:
    assert APIClient().get(f"{ROOT}/devices/{device.pk}/commands").status_code == 401
    assert APIClient().patch(f"{ROOT}/commands/1/status?status=executed").status_code == 401
