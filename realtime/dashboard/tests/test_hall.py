"""The pages of devices and alerts as a browser without scripts sees them, and their JSON."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import roles
from accounts.models import User
from devices.models import Alert, Device
from devices.readings import Report
from devices.services import alerts, devices, telemetry
from realtime.core.events import Measured
from realtime.dashboard import hall
from realtime.dashboard.tests.conftest import STARTED_AT

EVIL = "<script>alert(1)</script>"
PAGES = ["/dashboard/devices/", "/dashboard/alerts/", "/dashboard/system/"]
LISTS = ["/dashboard/api/devices", "/dashboard/api/alerts"]

MakeUser = Callable[..., User]
BrowserOf = Callable[..., Client]


@pytest.fixture
def device(db: None) -> Device:
    return devices.register_device(
        name="Alpha", external_id="A-1", device_type="sensor", location="Zone A", now=timezone.now()
    )


def report(device: Device, at: datetime, **values: float) -> None:
    telemetry.record_reports(
        [
            Report(
                device_id=device.pk,
                account_id=None,
                metrics={name: Measured(value, "°C", at) for name, value in values.items()},
                received_at=at,
            )
        ],
        now=at,
    )


def alert_about(device: Device, severity: str = "critical", title: str = "Too hot") -> Alert:
    raised = alerts.raise_alert(
        title=title,
        severity=severity,
        alert_type="manual",
        now=timezone.now(),
        device_id=device.pk,
    )
    assert raised is not None
    return raised


def text_of(browser: Client, path: str, *, status: int = 200) -> str:
    response = browser.get(path)
    assert response.status_code == status
    return response.content.decode()


# --- Who may see what -----------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("role", [roles.OPERATOR, roles.VIEWER, roles.ADMIN])
def test_who_may_read_devices_sees_the_page(
    make_user: MakeUser, browser_of: BrowserOf, role: str, path: str
) -> None:
    text_of(browser_of(make_user("somebody", role)), path)


@pytest.mark.parametrize("path", [*PAGES, *LISTS])
@pytest.mark.parametrize("role", [roles.SURGEON, roles.MEMBER, roles.DEVICE, roles.AI])
def test_others_do_not(make_user: MakeUser, browser_of: BrowserOf, role: str, path: str) -> None:
    text_of(browser_of(make_user("somebody", role)), path, status=403)


@pytest.mark.django_db
@pytest.mark.parametrize("path", LISTS)
def test_the_json_is_not_for_strangers(client: Client, path: str) -> None:
    assert client.get(path).status_code == 401


def test_only_who_may_open_the_pages_is_offered_them(
    make_user: MakeUser, browser_of: BrowserOf
) -> None:
    assert "/dashboard/devices/" in text_of(browser_of(make_user("o", roles.OPERATOR)), "/")
    assert "/dashboard/devices/" not in text_of(browser_of(make_user("s", roles.SURGEON)), "/")


# --- Devices --------------------------------------------------------------------------------


def test_the_list_shows_status_and_last_values(operator: Client, device: Device) -> None:
    report(device, timezone.now(), temperature=21.5)
    page = text_of(operator, "/dashboard/devices/")
    assert "Alpha" in page
    assert "21.5 °C" in page


def test_the_list_says_what_to_do_when_it_is_empty(operator: Client) -> None:
    assert "/admin/devices/device/add/" in text_of(operator, "/dashboard/devices/")


def test_the_list_can_be_searched(operator: Client, device: Device) -> None:
    assert "Alpha" in text_of(operator, "/dashboard/devices/?search=zone")
    assert "No device matches" in text_of(operator, "/dashboard/devices/?search=cellar")


def test_the_list_needs_as_many_queries_for_fifty_devices_as_for_one(
    operator: Client, device: Device, django_assert_max_num_queries
) -> None:
    for number in range(50):
        devices.register_device(
            name=f"D{number}", external_id=f"D-{number}", device_type="sensor", now=timezone.now()
        )
    with django_assert_max_num_queries(8):
        operator.get("/dashboard/devices/")


def test_the_numbers_of_each_status_are_counted(operator: Client, device: Device) -> None:
    devices.change_status(device.pk, "warning", reason="x", now=timezone.now())
    body = operator.get("/dashboard/api/devices").json()
    assert body["statuses"]["warning"] == 1
    assert body["statuses"]["online"] == 0


def test_the_list_can_be_narrowed_to_a_status(operator: Client, device: Device) -> None:
    assert "Alpha" in text_of(operator, f"/dashboard/devices/?status={device.status}")
    assert "No device matches" in text_of(operator, "/dashboard/devices/?status=error")
    assert "Alpha" in text_of(operator, "/dashboard/devices/?status=nonsense")


@pytest.mark.parametrize(
    ("value", "text"),
    [(21.5, "21.5"), (0.0, "0"), (1013.256, "1013.26"), (1e308, "1e+308"), (1e-9, "1e-09")],
)
def test_a_value_is_written_shortly(value: float, text: str) -> None:
    assert hall.Reading("m", value, "", STARTED_AT).text == text


def test_the_overview_links_to_devices_and_open_alerts(operator: Client, device: Device) -> None:
    alert_about(device)
    page = text_of(operator, "/dashboard/")
    assert 'href="/dashboard/devices/?status=online"' in page
    assert 'href="/dashboard/alerts/?severity=critical"' in page
    body = operator.get("/dashboard/api/overview").json()
    assert body["statuses"][device.status] == 1
    assert body["severities"]["critical"] == 1


def test_the_overview_of_who_may_not_read_devices_has_none_of_it(
    make_user: MakeUser, browser_of: BrowserOf, device: Device
) -> None:
    surgeon = browser_of(make_user("surgeon", roles.SURGEON))
    assert "/dashboard/devices/" not in text_of(surgeon, "/dashboard/")
    assert "statuses" not in surgeon.get("/dashboard/api/overview").json()


def test_what_changes_of_a_device_is_there_as_json(operator: Client, device: Device) -> None:
    devices.change_status(device.pk, "maintenance", reason="new filter", now=timezone.now())
    body = operator.get(f"/dashboard/api/devices/{device.pk}").json()
    assert (body["status"], body["reason"]) == ("maintenance", "new filter")
    assert [change["status"] for change in body["changes"]] == ["maintenance"]


def test_a_device_s_page_shows_its_alerts_and_its_history(operator: Client, device: Device) -> None:
    alert_about(device)
    devices.change_status(device.pk, "maintenance", reason="new filter", now=timezone.now())
    page = text_of(operator, f"/dashboard/devices/{device.pk}/")
    assert "Too hot" in page
    assert "new filter" in page


@pytest.mark.parametrize(
    "path",
    ["/dashboard/devices/{}/", "/dashboard/api/devices/{}", "/dashboard/api/devices/{}/past"],
)
@pytest.mark.parametrize("number", [999_999, 2**63])
def test_a_device_that_does_not_exist_is_not_found(
    operator: Client, path: str, number: int
) -> None:
    text_of(operator, path.format(number), status=404)


def test_the_past_has_the_last_hour_of_each_metric_in_order(
    operator: Client, device: Device
) -> None:
    now = datetime.now(UTC)
    for minutes in (90, 30, 10):
        report(device, now - timedelta(minutes=minutes), temperature=float(minutes))
    body = operator.get(f"/dashboard/api/devices/{device.pk}/past").json()
    assert body["temperature"]["values"] == [30.0, 10.0]
    assert body["temperature"]["unit"] == "°C"


def test_a_busy_device_s_past_begins_with_the_means_of_minutes(
    operator: Client, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hall, "PAST_READINGS_MAX", 2)
    minute = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    for seconds, value in ((0, 1.0), (20, 3.0), (120, 8.0), (130, 9.0)):
        report(device, minute + timedelta(seconds=seconds), temperature=value)
    body = operator.get(f"/dashboard/api/devices/{device.pk}/past").json()
    assert body["temperature"]["values"] == [2.0, 8.0, 9.0]


def test_names_are_shown_as_text(operator: Client, device: Device) -> None:
    Device.objects.filter(pk=device.pk).update(name=EVIL, location=EVIL)
    alert_about(device, title=EVIL)
    for path in (*PAGES, f"/dashboard/devices/{device.pk}/"):
        assert EVIL not in text_of(operator, path)


# --- Alerts ---------------------------------------------------------------------------------


def test_open_alerts_are_shown_first_of_all(operator: Client, device: Device) -> None:
    alert_about(device, title="Open one")
    closed = alert_about(device, title="Closed one")
    alerts.resolve_alert(closed.pk, by=None, now=timezone.now())
    page = text_of(operator, "/dashboard/alerts/")
    assert "Open one" in page
    assert "Closed one" not in page
    assert "Closed one" in text_of(operator, "/dashboard/alerts/?status=resolved")


def test_alerts_can_be_filtered_by_severity(operator: Client, device: Device) -> None:
    alert_about(device, "info", title="A note")
    assert "A note" in text_of(operator, "/dashboard/alerts/?severity=info")
    assert "A note" not in text_of(operator, "/dashboard/alerts/?severity=critical")


def test_alerts_can_be_narrowed_to_a_device(operator: Client, device: Device) -> None:
    alert_about(device, title="Mine")
    assert "Mine" in text_of(operator, f"/dashboard/alerts/?device={device.pk}")
    assert "Mine" not in text_of(operator, f"/dashboard/alerts/?device={device.pk + 1}")


def test_a_device_out_of_service_is_named_without_a_link(operator: Client, device: Device) -> None:
    alert_about(device)
    devices.retire_device(device.pk, now=timezone.now())
    page = text_of(operator, "/dashboard/alerts/?status=all")
    assert "Alpha" in page
    assert f"/dashboard/devices/{device.pk}/" not in page
    assert operator.get("/dashboard/api/alerts?status=all").json()["items"][0]["deviceId"] is None


@pytest.mark.parametrize(
    "query", ["status=x&severity=y&page=z", "page=-1", "status=%00", "device=²"]
)
def test_a_query_that_makes_no_sense_shows_a_list(operator: Client, query: str) -> None:
    text_of(operator, f"/dashboard/alerts/?{query}")


def test_an_operator_acknowledges_and_resolves(operator: Client, device: Device) -> None:
    alert = alert_about(device)
    path = f"/dashboard/api/alerts/{alert.pk}"
    assert operator.post(f"{path}/acknowledge").json()["status"] == "acknowledged"
    answer = operator.post(f"{path}/resolve").json()
    assert (answer["status"], answer["by"]) == ("resolved", "operator")


def test_doing_it_twice_is_a_conflict_with_a_reason(operator: Client, device: Device) -> None:
    alert = alert_about(device)
    operator.post(f"/dashboard/api/alerts/{alert.pk}/resolve")
    again = operator.post(f"/dashboard/api/alerts/{alert.pk}/resolve")
    assert again.status_code == 409
    assert again.json()["error"]


def test_a_viewer_is_not_offered_it_and_may_not(
    make_user: MakeUser, browser_of: BrowserOf, device: Device
) -> None:
    viewer = browser_of(make_user("viewer", roles.VIEWER))
    alert = alert_about(device)
    assert "data-action" not in text_of(viewer, "/dashboard/alerts/")
    answer = viewer.post(f"/dashboard/api/alerts/{alert.pk}/acknowledge")
    assert answer.status_code == 403


def test_acting_needs_the_page_s_own_secret(
    make_user: MakeUser, browser_of: BrowserOf, device: Device
) -> None:
    careful = browser_of(make_user("operator", roles.OPERATOR), enforce_csrf_checks=True)
    alert = alert_about(device)
    answer = careful.post(f"/dashboard/api/alerts/{alert.pk}/acknowledge")
    assert answer.status_code == 403


def test_an_alert_that_does_not_exist_is_not_found(operator: Client) -> None:
    assert operator.post("/dashboard/api/alerts/999/acknowledge").status_code == 404


def test_open_alerts_are_counted_by_severity(operator: Client, device: Device) -> None:
    alert_about(device, "warning")
    body = operator.get("/dashboard/api/alerts").json()
    assert body["severities"] == {"critical": 0, "warning": 1, "info": 0}
