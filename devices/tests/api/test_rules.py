"""Alert rules over REST: edited, tried on a value, on the last hour."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from devices.models import Alert, AlertRule, Device
from devices.services.alerts import resolve_alert
from devices.services.devices import change_status
from devices.tests.api.readings import stored
from devices.tests.builders import NOW, Announced, a_device, a_rule, body_of, names
from realtime.core.apart import stop_apart

ClientOf = Callable[[User], APIClient]

ROOT = "/api/v1/alerts/rules"
CHECK = "/api/v1/alerts/check"
NEW = {
    "name": "Too warm",
    "metric_name": "temperature",
    "condition": "gt",
    "threshold_value": 30,
}
KEYS = [
    "name",
    "description",
    "device_id",
    "device_type",
    "metric_name",
    "condition",
    "threshold_value",
    "severity",
    "is_active",
    "notification_enabled",
    "cooldown_minutes",
    "id",
    "created_at",
    "updated_at",
    # Ours.
    "clear_threshold",
    "raise_after_seconds",
    "clear_after_seconds",
    "cooldown_seconds",
    "resolves_itself",
]


# --- Editing --------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_rule_is_added_with_the_documents_defaults(
    client: APIClient, announced: Announced, slash: str
) -> None:
    response = client.post(f"{ROOT}{slash}", NEW, format="json")
    assert response.status_code == 201
    body = body_of(response)
    assert list(body) == KEYS
    assert {name: body[name] for name in NEW} == NEW
    assert (body["severity"], body["is_active"], body["cooldown_minutes"]) == ("warning", True, 30)
    assert (body["device_id"], body["device_type"], body["description"]) == (None, None, None)
    assert names(announced) == ["rules_changed"]


def test_a_rule_may_say_everything(client: APIClient, device: Device) -> None:
    given = {
        **NEW,
        "description": "Of the server room",
        "device_id": device.pk,
        "device_type": None,
        "severity": "critical",
        "is_active": False,
        "notification_enabled": False,
        "cooldown_minutes": 5,
        "clear_threshold": 28.5,
        "raise_after_seconds": 60,
        "clear_after_seconds": 1.5,
        "resolves_itself": False,
    }
    body = body_of(client.post(ROOT, given, format="json"))
    # Whoever listens is told.
    kept = {**given, "notification_enabled": True, "cooldown_seconds": 300}
    assert {name: body[name] for name in kept} == kept


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"name": ""}, "string_too_short"),
        ({"name": "x" * 101}, "string_too_long"),
        ({"description": "\0"}, "string_control_characters"),
        ({"metric_name": None}, "string_type"),
        ({"condition": "above"}, "enum"),
        ({"threshold_value": "NaN"}, "finite_number"),
        ({"threshold_value": None}, "float_type"),
        ({"severity": "high"}, "enum"),
        ({"is_active": "perhaps"}, "bool_parsing"),
        ({"cooldown_minutes": -1}, "greater_than_equal"),
        ({"cooldown_minutes": 10**12}, "less_than_equal"),
        ({"raise_after_seconds": -0.5}, "greater_than_equal"),
        ({"device_id": 2**63}, "less_than_equal"),
        ({"device_type": "x" * 51}, "string_too_long"),
        ({"clear_threshold": 31}, "value_error"),
        ({"threshold_value": 0, "condition": "absent"}, "value_error"),
    ],
)
def test_a_bad_rule_is_refused(client: APIClient, given: dict[str, Any], kind: str) -> None:
    response = client.post(ROOT, {**NEW, **given}, format="json")
    assert response.status_code == 422
    [wrong] = body_of(response)["detail"]
    assert (wrong["type"], wrong["loc"]) == (kind, ["body", next(iter(given))])
    assert not AlertRule.objects.exists()


def test_a_rule_needs_a_device_that_is_there(client: APIClient) -> None:
    response = client.post(ROOT, {**NEW, "device_id": 999}, format="json")
    assert response.status_code == 404
    assert body_of(response) == {"detail": "Device not found"}


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_list_shows_rules_in_force(
    client: APIClient, device: Device, slash: str, django_assert_num_queries: Any
) -> None:
    rules = [a_rule(device) for _ in range(5)]
    off = a_rule(is_active=False)
    # The account with its role, the rules.
    with django_assert_num_queries(2):
        body = body_of(client.get(f"{ROOT}{slash}"))
    assert [item["id"] for item in body] == [rule.pk for rule in rules]
    assert list(body[0]) == KEYS

    def listed(query: str) -> list[int]:
        return [item["id"] for item in body_of(client.get(f"{ROOT}{slash}?{query}"))]

    assert listed("is_active=false") == [off.pk]
    assert listed(f"device_id={device.pk}") == [rule.pk for rule in rules]
    assert listed("device_id=999") == []
    assert listed("skip=1&limit=2") == [rule.pk for rule in rules[1:3]]


@pytest.mark.parametrize("query", ["is_active=perhaps", "device_id=x", "device_id=0", "limit=1001"])
def test_a_bad_filter_is_refused(client: APIClient, query: str) -> None:
    assert client.get(f"{ROOT}?{query}").status_code == 422


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_rule_is_shown_changed_and_deleted(
    client: APIClient, announced: Announced, slash: str
) -> None:
    url = f"{ROOT}/{a_rule(description='Old').pk}{slash}"
    assert list(body_of(client.get(url))) == KEYS
    announced.clear()
    body = body_of(client.put(url, {"threshold_value": 35, "description": None}, format="json"))
    assert (body["threshold_value"], body["name"], body["description"]) == (35, "Too warm", None)
    response = client.delete(url)
    assert (response.status_code, response.content) == (204, b"")
    assert names(announced) == ["rules_changed"] * 2
    for method in ("get", "put", "delete"):
        response = getattr(client, method)(url)
        assert response.status_code == 404
        assert body_of(response) == {"detail": "Rule not found"}


def test_a_change_that_makes_no_sense_is_refused(client: APIClient) -> None:
    rule = a_rule()
    response = client.put(f"{ROOT}/{rule.pk}", {"clear_threshold": 31}, format="json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"] == ["body", "clear_threshold"]
    rule.refresh_from_db()
    assert rule.clear_threshold is None


@pytest.mark.parametrize(("number", "code"), [("0", 404), (str(2**63), 404), ("x", 422)])
@pytest.mark.parametrize("path", ["", "/test"])
def test_a_rule_that_is_not_there_is_not_found(
    client: APIClient, path: str, number: str, code: int
) -> None:
    url = f"{ROOT}/{number}{path}"
    response = client.post(url, {"test_value": 5}, format="json") if path else client.get(url)
    assert response.status_code == code


# --- Trying ---------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("condition", "value", "triggered"),
    [
        ("gt", 30, False),
        ("gt", 30.5, True),
        ("gte", "30", True),
        ("lt", 29, True),
        ("lte", 31, False),
        ("eq", 30, True),
        ("ne", 30, False),
        ("absent", 29, False),
        ("absent", 31, True),
    ],
)
def test_a_rule_is_tried_on_a_value(
    client: APIClient, condition: str, value: Any, triggered: bool, slash: str
) -> None:
    rule = a_rule(condition=condition)
    response = client.post(f"{ROOT}/{rule.pk}/test{slash}", {"test_value": value}, format="json")
    assert response.status_code == 200
    body = body_of(response)
    assert body["rule_id"] == rule.pk
    assert (body["test_value"], body["condition"]) == (float(value), condition)
    assert (body["threshold_value"], body["triggered"]) == (30, triggered)
    assert not Alert.objects.exists()


@pytest.mark.parametrize("given", [{}, {"test_value": "warm"}, {"test_value": "NaN"}])
def test_a_trial_needs_a_number(client: APIClient, given: dict[str, Any]) -> None:
    response = client.post(f"{ROOT}/{a_rule().pk}/test", given, format="json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"] == ["body", "test_value"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_last_hour_is_judged_once(
    client: APIClient, device: Device, announced: Announced, slash: str
) -> None:
    rule = a_rule(device, severity="critical")
    a_rule(device_type="gateway")
    a_rule(a_device(external_id="D-2"))
    stored(device, 25, 31, 32)
    stored(device, 99, start=timezone.now() - timedelta(hours=2))
    announced.clear()
    body = body_of(client.post(f"{CHECK}/{device.pk}{slash}"))
    assert list(body) == [
        "device_id",
        "telemetry_points_checked",
        "new_alerts_created",
        "alerts",
    ]
    assert (body["telemetry_points_checked"], body["new_alerts_created"]) == (3, 1)
    [alert] = body["alerts"]
    assert (alert["rule_id"], alert["severity"]) == (rule.pk, "critical")
    assert (alert["threshold_value"], alert["actual_value"]) == (30, 31)
    assert alert["title"] == "Critical: temperature above 30"
    assert names(announced) == ["alert_raised"]
    again = body_of(client.post(f"{CHECK}/{device.pk}{slash}"))
    assert (again["new_alerts_created"], again["alerts"]) == (0, [])


def test_rules_of_its_type_and_of_all_judge_it_too(client: APIClient, device: Device) -> None:
    a_rule(device_type=device.device_type)
    a_rule()
    a_rule(is_active=False)
    stored(device, 31)
    assert body_of(client.post(f"{CHECK}/{device.pk}"))["new_alerts_created"] == 2


def test_what_is_over_raises_nothing(client: APIClient, device: Device) -> None:
    a_rule(device)
    stored(device, 31, 25)
    assert body_of(client.post(f"{CHECK}/{device.pk}"))["new_alerts_created"] == 0


def test_hold_time_and_cooldown_count(client: APIClient, device: Device, operator: User) -> None:
    a_rule(device, raise_after_seconds=120)
    stored(device, 31, 32)
    assert body_of(client.post(f"{CHECK}/{device.pk}"))["new_alerts_created"] == 0
    stored(device, 31, 32, 33, 34, start=timezone.now() - timedelta(minutes=10))
    AlertRule.objects.update(raise_after_seconds=0)
    [alert] = body_of(client.post(f"{CHECK}/{device.pk}"))["alerts"]
    resolve_alert(alert["id"], by=operator, now=timezone.now())
    assert body_of(client.post(f"{CHECK}/{device.pk}"))["new_alerts_created"] == 0


def test_absence_is_noticed(client: APIClient, device: Device) -> None:
    a_rule(device, condition="absent", threshold=600)
    AlertRule.objects.update(updated_at=NOW)
    body = body_of(client.post(f"{CHECK}/{device.pk}"))
    assert (body["telemetry_points_checked"], body["new_alerts_created"]) == (0, 1)
    assert body["alerts"][0]["actual_value"] is None


def test_a_device_that_reports_is_not_absent(client: APIClient, device: Device) -> None:
    a_rule(device, condition="absent", threshold=600)
    AlertRule.objects.update(updated_at=NOW)
    stored(device, 1)
    assert body_of(client.post(f"{CHECK}/{device.pk}"))["new_alerts_created"] == 0


def test_nothing_is_raised_about_a_device_in_maintenance(client: APIClient, device: Device) -> None:
    a_rule(device)
    stored(device, 31)
    change_status(device.pk, "maintenance", reason="", now=timezone.now())
    body = body_of(client.post(f"{CHECK}/{device.pk}"))
    assert (body["telemetry_points_checked"], body["new_alerts_created"]) == (1, 0)


@pytest.mark.parametrize(("number", "code"), [("999", 404), (str(2**63), 404), ("x", 422)])
def test_a_check_needs_a_device_that_is_there(client: APIClient, number: str, code: int) -> None:
    assert client.post(f"{CHECK}/{number}").status_code == code


# --- Back-testing ---------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_rule_is_tried_on_the_stored_past(client: APIClient, device: Device) -> None:
    rule = a_rule(device, cooldown_seconds=0)
    stored(device, 25, 31, 29, 33, 20)
    try:
        fresh = client.post(
            f"{ROOT}/preview/", {**NEW, "cooldown_minutes": 0, "hours": 1}, format="json"
        )
        changed = client.post(f"{ROOT}/{rule.pk}/preview", {"threshold_value": 32}, format="json")
        same = client.post(f"{ROOT}/{rule.pk}/preview/", {}, format="json")
    finally:
        stop_apart()
    body = body_of(fresh)
    assert list(body) == [
        "title",
        "start_time",
        "end_time",
        "previewed",
        "today",
        "alerts",
        "is_cut",
    ]
    assert (body["title"], body["today"]) == ("Warning: temperature above 30", None)
    assert body["previewed"]["alerts_raised"] == 2
    assert body["previewed"]["telemetry_points_checked"] == 5
    assert [alert["actual_value"] for alert in body["alerts"]] == [31, 33]
    body = body_of(changed)
    assert (body["previewed"]["alerts_raised"], body["today"]["alerts_raised"]) == (1, 2)
    assert [alert["raised_by"] for alert in body["alerts"]] == ["today", "both"]
    assert body["alerts"][0]["device_name"] == device.name
    assert body_of(same)["today"] is None
    rule.refresh_from_db()
    assert (rule.threshold, Alert.objects.count()) == (30, 0)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"hours": 0}, "hours"),
        ({"hours": 24 * 31 + 1}, "hours"),
        ({"hours": "NaN"}, "hours"),
        ({"clear_threshold": 31}, "clear_threshold"),
        ({"metric_name": ""}, "metric_name"),
    ],
)
def test_a_bad_preview_is_refused(client: APIClient, given: dict[str, Any], field: str) -> None:
    for url, body in ((f"{ROOT}/preview", NEW), (f"{ROOT}/{a_rule().pk}/preview", {})):
        response = client.post(url, {**body, **given}, format="json")
        assert response.status_code == 422
        assert body_of(response)["detail"][0]["loc"] == ["body", field]


def test_a_preview_needs_what_it_names(client: APIClient) -> None:
    given = {**NEW, "device_id": 999}
    assert client.post(f"{ROOT}/preview", given, format="json").status_code == 404
    assert client.post(f"{ROOT}/999/preview", {}, format="json").status_code == 404


# --- Who may --------------------------------------------------------------------------


def test_who_may_edit_rules(
    device: Device, viewer: User, device_account: User, client_of: ClientOf
) -> None:
    url = f"{ROOT}/{a_rule().pk}"
    assert client_of(viewer).get(ROOT).status_code == 200
    assert client_of(device_account).get(ROOT).status_code == 403
    for user in (viewer, device_account):
        client = client_of(user)
        assert client.post(ROOT, NEW, format="json").status_code == 403
        assert client.put(url, {"name": "x"}, format="json").status_code == 403
        assert client.delete(url).status_code == 403
        assert client.post(f"{url}/test", {"test_value": 1}, format="json").status_code == 403
        assert client.post(f"{CHECK}/{device.pk}").status_code == 403
        assert client.post(f"{ROOT}/preview", NEW, format="json").status_code == 403
        assert client.post(f"{url}/preview", {}, format="json").status_code == 403
    assert APIClient().get(url).status_code == 401
