"""Every path is served in both forms, described once, and answers with the keys described."""

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import resolve
from django.utils import timezone
from rest_framework.serializers import Serializer
from rest_framework.test import APIClient

from accounts.models import User
from devices.api.bodies import alerts, commands, devices, rules, telemetry
from devices.models import Device
from devices.readings import Stored
from devices.services.commands import queue_command
from devices.tests.builders import NOW, a_rule, an_alert
from devices.urls import VIEWS

METHODS = ("get", "post", "put", "patch", "delete")
# What stands in for each part of a path; none of them is there.
PLACES = {
    "<str:surgery_id>": "550e8400-e29b-41d4-a716-446655440000",
    "<str:status>": "online",
    "<str:device_id>": "999",
    "<str:command_id>": "999",
    "<str:alert_id>": "999",
    "<str:rule_id>": "999",
}
PUBLIC = ("health", "health/ping")


def _path(route: str) -> str:
    for name, value in PLACES.items():
        route = route.replace(name, value)
    return f"/api/v1/{route}"


@pytest.mark.parametrize("route", VIEWS)
def test_both_forms_of_a_path_have_the_same_view(route: str) -> None:
    plain, slashed = resolve(_path(route)), resolve(f"{_path(route)}/")
    assert plain.func.view_class is slashed.func.view_class is VIEWS[route][0]


@pytest.mark.parametrize("route", [route for route in VIEWS if route not in PUBLIC])
def test_no_path_is_open_to_everybody(db: None, route: str) -> None:
    for method in METHODS:
        for slash in ("", "/"):
            response = getattr(APIClient(), method)(f"{_path(route)}{slash}")
            assert response.status_code == 401


@pytest.mark.parametrize("route", [r for r in VIEWS if not r.startswith("surgeries")])
def test_no_method_ends_in_a_500(client: APIClient, route: str) -> None:
    path = _path(route)
    assert client.get(path, {"limit": "\0", "hours": "é", "format": "xml"}).status_code < 500
    for method in METHODS[1:]:
        for body in ("", "{}", "[]", "null", '{"a": 1e999}', "\0"):
            ask = getattr(client, method)
            assert ask(path, body, content_type="application/json").status_code < 500


def test_every_route_is_described_once(db: None) -> None:
    described = APIClient().get("/api/schema/", {"format": "json"}).json()["paths"]
    ours = {f"/api/v1/{route}".replace("<str:", "{").replace(">", "}") for route in VIEWS}
    assert ours <= described.keys()
    assert not {f"{path}/" for path in ours} & described.keys()
    ids = [m["operationId"] for methods in described.values() for m in methods.values()]
    assert len(ids) == len(set(ids))


def _row() -> Stored:
    return Stored(
        id=1, device_id=1, metric="m", value=1.0, unit="", at=NOW, received_at=NOW, message_id=""
    )


ITEMS: list[tuple[type[Serializer], Callable[[Device, User], Any]]] = [
    (devices.DeviceItem, lambda device, user: devices.device_item(device)),
    (alerts.AlertItem, lambda device, user: alerts.alert_item(an_alert(device))),
    (rules.RuleItem, lambda device, user: rules.rule_item(a_rule(device))),
    (telemetry.ReadingItem, lambda device, user: telemetry.reading_item(_row())),
    (
        commands.CommandItem,
        lambda device, user: commands.command_item(
            queue_command(device.pk, command="x", parameters={}, by=user, now=timezone.now())
        ),
    ),
]


@pytest.mark.parametrize(("described", "made"), ITEMS)
def test_an_item_has_the_keys_that_are_described(
    device: Device,
    operator: User,
    described: type[Serializer],
    made: Callable[[Device, User], dict[str, Any]],
) -> None:
    assert list(made(device, operator)) == list(described().fields)
