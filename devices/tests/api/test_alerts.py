"""Alerts over REST: raised by hand, looked at, acknowledged, resolved, counted."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from devices.models import Alert, Device
from devices.services.alerts import acknowledge_alert, raise_alert, resolve_alert
from devices.tests.builders import Announced, a_device, an_alert, body_of, names

ClientOf = Callable[[User], APIClient]

ROOT = "/api/v1/alerts"
KEYS = [
    "id",
    "device_id",
    "title",
    "description",
    "severity",
    "alert_type",
    "status",
    "threshold_value",
    "actual_value",
    "metric_name",
    "created_at",
    "acknowledged_at",
    "resolved_at",
    # Ours.
    "rule_id",
    "acknowledged_by",
    "resolved_by",
    "notes",
]


def new_alert(device: Device, **fields: Any) -> dict[str, Any]:
    return {
        "device_id": device.pk,
        "title": "Low flow",
        "severity": "warning",
        "alert_type": "threshold",
        "description": "Two\nlines",
        "threshold_value": 50,
        "actual_value": "42.5",
        "metric_name": "flow_rate",
        **fields,
    }


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_alert_is_raised_by_hand(
    client: APIClient, device: Device, announced: Announced, slash: str
) -> None:
    response = client.post(f"{ROOT}{slash}", new_alert(device), format="json")
    assert response.status_code == 201
    body = body_of(response)
    assert list(body) == KEYS
    assert (body["threshold_value"], body["actual_value"], body["status"]) == (50, 42.5, "active")
    assert (body["description"], body["metric_name"]) == ("Two\nlines", "flow_rate")
    assert (body["rule_id"], body["notes"], body["acknowledged_by"]) == (None, None, None)
    assert names(announced)[-1:] == ["alert_raised"]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"device_id": None}, "int_type"),
        ({"device_id": "x"}, "int_parsing"),
        ({"device_id": True}, "int_type"),
        ({"device_id": 0}, "greater_than_equal"),
        ({"device_id": 2**63}, "less_than_equal"),
        ({"title": ""}, "string_too_short"),
        ({"title": "x" * 201}, "string_too_long"),
        ({"title": "a\0"}, "string_control_characters"),
        ({"description": "x" * 1001}, "string_too_long"),
        ({"description": "\x07"}, "string_control_characters"),
        ({"severity": "medium"}, "enum"),
        ({"severity": ["warning"]}, "enum"),
        ({"alert_type": "odd"}, "enum"),
        ({"threshold_value": "NaN"}, "finite_number"),
        ({"actual_value": "-Infinity"}, "finite_number"),
        ({"actual_value": "hot"}, "float_parsing"),
        ({"actual_value": True}, "float_type"),
        ({"actual_value": 10**400}, "finite_number"),
        ({"metric_name": "x" * 101}, "string_too_long"),
    ],
)
def test_a_bad_alert_is_refused(
    client: APIClient, device: Device, given: dict[str, Any], kind: str
) -> None:
    response = client.post(ROOT, new_alert(device, **given), format="json")
    assert response.status_code == 422
    [wrong] = body_of(response)["detail"]
    assert (wrong["type"], wrong["loc"]) == (kind, ["body", next(iter(given))])


def test_four_fields_are_required(client: APIClient) -> None:
    response = client.post(ROOT, {"metric_value": 5}, format="json")
    assert response.status_code == 422
    missing = [wrong["loc"][1] for wrong in body_of(response)["detail"]]
    assert missing == ["device_id", "title", "severity", "alert_type"]


def test_an_alert_needs_a_device_that_is_there(client: APIClient, device: Device) -> None:
    response = client.post(ROOT, new_alert(device, device_id=999), format="json")
    assert response.status_code == 404
    assert body_of(response) == {"detail": "Device not found"}


# --- Listing --------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_list_is_newest_first_and_can_be_narrowed(
    client: APIClient, device: Device, operator: User, slash: str
) -> None:
    now = timezone.now()
    ids = [an_alert(device, now=now + timedelta(seconds=n)).pk for n in range(4)]
    acknowledge_alert(ids[1], by=operator, now=now)

    def listed(**query: Any) -> list[int]:
        return [item["id"] for item in body_of(client.get(f"{ROOT}{slash}", query))]

    assert listed() == ids[::-1]
    assert listed(skip=1, limit=2) == ids[2:0:-1]
    assert listed(status="acknowledged") == [ids[1]]
    assert listed(severity="info") == []
    assert list(body_of(client.get(ROOT))[0]) == KEYS


@pytest.mark.parametrize("query", ["status=open", "limit=0", "skip=x", "severity=high"])
def test_a_bad_filter_is_refused(client: APIClient, query: str) -> None:
    response = client.get(f"{ROOT}?{query}")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"][0] == "query"


def test_the_list_costs_the_same_for_one_and_for_many(
    client: APIClient, device: Device, operator: User, django_assert_num_queries: Any
) -> None:
    for _ in range(20):
        resolve_alert(an_alert(device).pk, by=operator, now=timezone.now())
    # The account with its role, the page with the people on it.
    with django_assert_num_queries(2):
        assert body_of(client.get(ROOT))[0]["resolved_by"] == "operator"


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_alerts_of_one_device_are_listed(
    client: APIClient, device: Device, slash: str, django_assert_num_queries: Any
) -> None:
    own = an_alert(device)
    an_alert(a_device(external_id="D-2"))
    with django_assert_num_queries(3):
        body = body_of(client.get(f"{ROOT}/device/{device.pk}{slash}"))
    assert [item["id"] for item in body] == [own.pk]
    assert body_of(client.get(f"{ROOT}/device/{device.pk}?status=resolved")) == []
    assert client.get(f"{ROOT}/device/999").status_code == 404
    assert client.get(f"{ROOT}/device/x").status_code == 422


@pytest.mark.parametrize("slash", ["", "/"])
def test_one_alert_is_shown(client: APIClient, device: Device, slash: str) -> None:
    alert = an_alert(device)
    body = body_of(client.get(f"{ROOT}/{alert.pk}{slash}"))
    assert (list(body), body["id"]) == (KEYS, alert.pk)


@pytest.mark.parametrize("path", ["", "/acknowledge", "/resolve"])
@pytest.mark.parametrize(("number", "code"), [("999", 404), (str(2**63), 404), ("x", 422)])
def test_an_alert_that_is_not_there_is_not_found(
    client: APIClient, path: str, number: str, code: int
) -> None:
    url = f"{ROOT}/{number}{path}"
    response = client.patch(url) if path else client.get(url)
    assert response.status_code == code
    if code == 404:
        assert body_of(response) == {"detail": "Alert not found"}


# --- Its life -------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("method", ["patch", "post"])
def test_an_alert_is_acknowledged_then_resolved(
    client: APIClient, device: Device, announced: Announced, method: str, slash: str
) -> None:
    url = f"{ROOT}/{an_alert(device).pk}"
    announced.clear()
    answer = getattr(client, method)(
        f"{url}/acknowledge{slash}", {"notes": "On my way"}, format="json"
    )
    assert answer.status_code == 200
    body = body_of(answer)
    assert (body["status"], body["acknowledged_by"]) == ("acknowledged", "operator")
    assert body["acknowledged_at"] is not None
    answer = getattr(client, method)(f"{url}/resolve{slash}?resolution_note=Valve%20replaced")
    body = body_of(answer)
    assert (body["status"], body["resolved_by"]) == ("resolved", "operator")
    assert body["notes"] == "On my way\nValve replaced"
    assert names(announced) == ["alert_updated"] * 2


def test_a_step_that_was_taken_is_refused(client: APIClient, device: Device) -> None:
    url = f"{ROOT}/{an_alert(device).pk}"
    assert client.patch(f"{url}/acknowledge").status_code == 200
    assert client.patch(f"{url}/acknowledge").status_code == 409
    assert client.patch(f"{url}/resolve").status_code == 200
    for step in ("acknowledge", "resolve"):
        response = client.patch(f"{url}/{step}")
        assert response.status_code == 409
        assert "resolved" in body_of(response)["detail"]


@pytest.mark.parametrize("note", ["x" * 1001, "\0", 5, ["x"]])
def test_a_bad_note_is_refused(client: APIClient, device: Device, note: Any) -> None:
    alert = an_alert(device)
    response = client.post(f"{ROOT}/{alert.pk}/resolve", {"note": note}, format="json")
    assert response.status_code == 422
    assert body_of(response)["detail"][0]["loc"] == ["body", "note"]
    alert.refresh_from_db()
    assert alert.status == Alert.Status.ACTIVE


# --- Counting -------------------------------------------------------------------------


def _raised(device: Device | None, severity: str, *, hours_ago: float = 0) -> Alert:
    return raise_alert(
        device_id=device and device.pk,
        title="x",
        severity=severity,
        alert_type="device",
        now=timezone.now() - timedelta(hours=hours_ago),
    )


@pytest.mark.parametrize("slash", ["", "/"])
def test_active_alerts_are_counted_by_severity(
    client: APIClient, device: Device, operator: User, slash: str, django_assert_num_queries: Any
) -> None:
    for severity in ("critical", "critical", "info"):
        _raised(device, severity)
    acknowledge_alert(_raised(device, "warning").pk, by=operator, now=timezone.now())
    with django_assert_num_queries(2):
        body = body_of(client.get(f"{ROOT}/stats/active{slash}"))
    assert body == {"critical": 2, "warning": 0, "info": 1, "total": 3}


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_summary_counts_what_was_raised_lately(
    client: APIClient, device: Device, slash: str, django_assert_num_queries: Any
) -> None:
    other = a_device(external_id="D-2")
    recent = [
        _raised(device, "critical"),
        _raised(device, "info"),
        _raised(other, "info"),
        _raised(None, "info"),
    ]
    _raised(device, "critical", hours_ago=30)
    with django_assert_num_queries(3):
        body = body_of(client.get(f"{ROOT}/stats/summary{slash}"))
    per_hour = body.pop("alerts_per_hour")
    assert sum(per_hour.values()) == 4
    assert str(recent[-1].created_at.hour) in per_hour
    assert body == {
        "total_alerts": 4,
        "by_severity": {"critical": 1, "info": 3},
        "by_status": {"active": 4},
        "by_type": {"device": 4},
        "top_devices": {str(device.pk): 2, str(other.pk): 1},
    }
    assert body_of(client.get(f"{ROOT}/stats/summary?hours=168"))["total_alerts"] == 5


@pytest.mark.parametrize("hours", ["0", "169", "x", "1.5"])
def test_the_summary_looks_back_a_week_at_most(client: APIClient, hours: str) -> None:
    assert client.get(f"{ROOT}/stats/summary?hours={hours}").status_code == 422


# --- Who may --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/stats/active", "/stats/summary", "/{id}", "/device/1"])
def test_who_may_read_alerts(
    device: Device,
    viewer: User,
    device_account: User,
    surgeon: User,
    client_of: ClientOf,
    path: str,
) -> None:
    url = ROOT + path.format(id=an_alert(device).pk).replace("device/1", f"device/{device.pk}")
    assert client_of(viewer).get(url).status_code == 200
    for user in (device_account, surgeon):
        assert client_of(user).get(url).status_code == 403
    assert APIClient().get(url).status_code == 401


def test_who_may_not_write_alerts(
    device: Device, viewer: User, device_account: User, client_of: ClientOf
) -> None:
    url = f"{ROOT}/{an_alert(device).pk}"
    for user in (viewer, device_account):
        client = client_of(user)
        assert client.post(ROOT, new_alert(device), format="json").status_code == 403
        assert client.patch(f"{url}/acknowledge").status_code == 403
        assert client.post(f"{url}/resolve").status_code == 403
