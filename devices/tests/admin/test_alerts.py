"""Alerts and rules in the admin."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import User
from devices.models import Alert, AlertRule, Device
from devices.services.alerts import resolve_alert
from devices.tests.admin.pages import act, list_of, page_of, post_action, signed_in
from devices.tests.builders import NOW, Announced, a_rule, an_alert, names


@pytest.fixture
def client(operator: User) -> Client:
    return signed_in(operator)


@pytest.fixture
def alert(device: Device) -> Alert:
    return an_alert(device, rule=a_rule(device))


def form_of(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Too warm",
        "severity": "warning",
        "is_active": "on",
        "metric": "temperature",
        "condition": "gt",
        "threshold": "30",
        "raise_after_seconds": "0",
        "clear_after_seconds": "0",
        "cooldown_seconds": "1800",
        "resolves_itself": "on",
        **changes,
    }


# --- alerts ---------------------------------------------------------------------------


def test_the_pages_open(client: Client, alert: Alert) -> None:
    for url in (
        list_of("alert"),
        page_of(alert),
        f"{list_of('alert')}?q=TEMP",
        f"{list_of('alert')}?status=active&severity=warning",
        f"{list_of('alert')}?device__id__exact={alert.device_id}",
        f"{list_of('alert')}?rule__id__exact={alert.rule_id}",
        list_of("alertrule"),
        page_of(alert.rule),
        f"{list_of('alertrule')}add/",
    ):
        response = client.get(url)
        assert response.status_code == 200, url
        if "?" in url:
            assert response.context["cl"].result_count == 1, url


def test_an_alert_is_acknowledged_and_resolved(
    client: Client, alert: Alert, operator: User, announced: Announced
) -> None:
    announced.clear()
    assert act(client, "acknowledge", alert) == ["Too warm: acknowledged."]
    alert.refresh_from_db()
    assert (alert.status, alert.acknowledged_by) == ("acknowledged", operator)
    assert act(client, "resolve", alert) == ["Too warm: resolved."]
    alert.refresh_from_db()
    assert (alert.status, alert.resolved_by) == ("resolved", operator)
    assert names(announced) == ["alert_updated", "alert_updated"]
    messages = [entry.get_change_message() for entry in LogEntry.objects.order_by("id")]
    assert messages == ["Acknowledged.", "Resolved."]


def test_what_somebody_else_did_meanwhile_is_said(
    client: Client, alert: Alert, announced: Announced
) -> None:
    resolve_alert(alert.pk, by=None, now=NOW)
    announced.clear()
    assert act(client, "acknowledge", alert) == ["Too warm: the alert is resolved already."]
    assert act(client, "resolve", alert) == ["Too warm: the alert is resolved already."]
    assert not announced
    assert not LogEntry.objects.exists()


def test_nothing_else_of_an_alert_is_edited(administrator: User, alert: Alert) -> None:
    client = signed_in(administrator)
    assert client.post(page_of(alert), {"status": "resolved"}).status_code == 403
    assert client.post(page_of(alert, "delete")).status_code == 403
    assert client.get(f"{list_of('alert')}add/").status_code == 403
    alert.refresh_from_db()
    assert alert.status == "active"


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_a_viewer_looks_and_does_nothing(
    viewer: User, alert: Alert, announced: Announced, action: str
) -> None:
    announced.clear()
    client = signed_in(viewer)
    assert client.get(page_of(alert)).status_code == 200
    post_action(client, action, alert)
    assert client.post(page_of(alert.rule), form_of()).status_code == 403
    assert client.get(f"{list_of('alertrule')}add/").status_code == 403
    assert not announced


# --- rules ----------------------------------------------------------------------------


def test_a_rule_is_added_and_announced(
    client: Client, device: Device, announced: Announced
) -> None:
    announced.clear()
    form = form_of(device=device.pk, clear_threshold="28.5")
    assert client.post(f"{list_of('alertrule')}add/", form).status_code == 302
    rule = AlertRule.objects.get()
    assert (rule.device, rule.threshold, rule.clear_threshold) == (device, 30.0, 28.5)
    assert (rule.is_active, rule.resolves_itself) == (True, True)
    assert names(announced) == ["rules_changed"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metric": ""}, "metric"),
        ({"condition": "about"}, "condition"),
        ({"threshold": "warm"}, "threshold"),
        ({"threshold": "nan"}, "threshold"),
        ({"threshold": "inf"}, "threshold"),
        ({"condition": "absent", "threshold": "0"}, "threshold"),
        ({"clear_threshold": "31"}, "clear_threshold"),
        ({"condition": "lt", "clear_threshold": "29"}, "clear_threshold"),
        ({"condition": "eq", "clear_threshold": "30"}, "clear_threshold"),
        ({"raise_after_seconds": "-1"}, "raise_after_seconds"),
        ({"cooldown_seconds": "-1"}, "cooldown_seconds"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    client: Client, changes: dict[str, str], field: str
) -> None:
    response = client.post(f"{list_of('alertrule')}add/", form_of(**changes))
    assert response.status_code == 200
    assert field in response.context["adminform"].form.errors
    assert not AlertRule.objects.exists()


def test_a_changed_rule_is_announced_and_its_history_says_from_what_to_what(
    client: Client, device: Device, announced: Announced
) -> None:
    rule = a_rule()
    announced.clear()
    form = form_of(threshold="31.5", device=device.pk, is_active="")
    assert client.post(page_of(rule), form).status_code == 302
    rule.refresh_from_db()
    assert (rule.threshold, rule.device, rule.is_active) == (31.5, device, False)
    assert names(announced) == ["rules_changed"]
    assert LogEntry.objects.get().get_change_message() == (
        "Changed is active from “True” to “False”, "
        f"device from nothing to “{device.pk}”, threshold from “30.0” to “31.5”."
    )


def test_a_deleted_rule_is_announced_and_its_alert_ends(
    client: Client, alert: Alert, announced: Announced
) -> None:
    announced.clear()
    url = page_of(alert.rule, "delete")
    assert client.post(url, {"post": "yes"}).status_code == 302
    assert not AlertRule.objects.exists()
    alert.refresh_from_db()
    assert (alert.status, alert.rule) == ("resolved", None)
    assert names(announced) == ["alert_updated", "rules_changed"]
