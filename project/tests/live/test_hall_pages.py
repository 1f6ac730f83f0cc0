"""The pages of devices, alerts and the system in a real Chromium, fed by devices and services."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Locator, Page, expect

from accounts import roles
from accounts.models import User
from devices.models import Alert, Device
from devices.readings import Report
from devices.services import alerts, devices
from devices.services import telemetry as readings
from project.tests.live import halls
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually
from realtime.core.events import Measured

pytest_plugins = ["project.tests.live.browser"]
pytestmark = pytest.mark.browser

# Within which a page shows what happened: the promise is a second, the rest is a busy machine's.
SOON_MS = 5_000
BACK_MS = 25_000
EVIL = "<img src=x onerror=\"document.title='owned'\">"
# A device's silence, and the watch that asks for it.
SILENCE_MS = 20_000

# Of `project.tests.live.browser`, which pytest imports: from (server, **options) to a Visitor.
Visit = Callable[..., Any]
Connect = Callable[..., RawWebSocket]
Opened = Callable[..., Page]


@pytest.fixture
def opened(pages: Server, visit: Visit, operator_session: Any) -> Opened:
    """Return a function that opens a page as the operator and waits until it is live."""

    def open_page(path: str, *, on: Server = pages, **options: Any) -> Page:
        page: Page = visit(on, storage_state=operator_session, **options).page
        page.goto(f"{on.url}{path}")
        expect_live(page)
        return page

    return open_page


def expect_live(page: Page) -> None:
    expect(page.locator("[data-link]")).to_have_text("Live", timeout=BACK_MS)


def speak(server: Server, connect: Connect, token: str) -> RawWebSocket:
    """Connect as a device."""
    return halls.sign_in(connect(server.ws_url("/ws/device")), token)


def report(ws: RawWebSocket, device: Device, **values: float) -> None:
    """Report values and wait until they are stored."""
    ws.send_json(halls.telemetry(device.pk, uuid.uuid4().hex, **values))
    assert halls.until(ws, "telemetry_ack")["accepted"] == len(values)


def store_past(device: Device, *values: float, metric: str = "temperature") -> None:
    """Store one value a minute, the last one a minute ago."""
    now = halls.now()
    times = [now - timedelta(minutes=len(values) - number) for number in range(len(values))]
    past = [
        Report(
            device_id=device.pk,
            account_id=None,
            metrics={metric: Measured(value, "°C", at)},
            received_at=at,
        )
        for at, value in zip(times, values, strict=True)
    ]
    readings.record_reports(past, now=now)


def raise_alert(title: str, device: Device | None = None, **fields: Any) -> Alert:
    raised = alerts.raise_alert(
        **{
            "title": title,
            "severity": "critical",
            "alert_type": "manual",
            "now": halls.now(),
            "device_id": device.pk if device else None,
            **fields,
        }
    )
    assert raised is not None
    return raised


def title(word: str) -> str:
    """Return a title that no other test's alert has."""
    return f"{word} {uuid.uuid4().hex[:8]}"


def device_row(page: Page, device: Device) -> Locator:
    return page.locator(f'#devices [data-device="{device.pk}"]')


def alert_row(page: Page, alert: Alert) -> Locator:
    return page.locator(f'[data-alert="{alert.pk}"]')


def drawn(page: Page, metric: str) -> list[float]:
    """Return the values that a chart shows, oldest first; holes left out."""
    values: list[float | None] = page.evaluate(
        """metric => {
            const wanted = ({dataset}) => dataset.metric === metric;
            const chart = [...document.querySelectorAll("#charts [data-metric]")].find(wanted);
            return chart?.querySelector(".plot").data?.[0].y ?? [];
        }""",
        metric,
    )
    return [value for value in values if value is not None]


def number(page: Page, count: str) -> int:
    return int(page.locator(f'[data-count="{count}"] dd').inner_text().replace(",", ""))


# --- Devices --------------------------------------------------------------------------------


def test_a_reading_appears_in_the_list_by_itself(
    pages: Server, opened: Opened, connect: Connect
) -> None:
    device, token = halls.new_device(name=title("Alpha"))
    page = opened("/dashboard/devices/")
    expect(device_row(page, device)).to_contain_text("never")
    ws = speak(pages, connect, token)
    report(ws, device, temperature=21.5)
    row = device_row(page, device)
    expect(row).to_contain_text("21.5 °C", timeout=SOON_MS)
    expect(row).to_contain_text("Online", timeout=SOON_MS)
    expect(row).not_to_contain_text("never")
    report(ws, device, temperature=22.25)
    expect(row).to_contain_text("22.25 °C", timeout=SOON_MS)


def test_a_chart_starts_with_the_stored_past_and_goes_on_live(
    pages: Server, opened: Opened, connect: Connect
) -> None:
    device, token = halls.new_device()
    store_past(device, 20.0, 21.0, 22.0)
    page = opened(f"/dashboard/devices/{device.pk}/")
    eventually(lambda: drawn(page, "temperature") == [20, 21, 22])
    ws = speak(pages, connect, token)
    report(ws, device, temperature=23.5, humidity=40.0)
    eventually(lambda: drawn(page, "temperature") == [20, 21, 22, 23.5])
    eventually(lambda: drawn(page, "humidity") == [40])
    expect(page.locator('[data-metric="temperature"] [data-value]')).to_have_text("23.5")


def test_a_device_that_falls_silent_is_shown_offline_with_the_reason(
    pages: Server, opened: Opened, connect: Connect
) -> None:
    device, token = halls.new_device(silence_seconds=1)
    page = opened(f"/dashboard/devices/{device.pk}/")
    ws = speak(pages, connect, token)
    report(ws, device, temperature=21.5)
    status = page.locator("[data-device-status]")
    expect(status).to_have_text("Online", timeout=SOON_MS)
    expect(status).to_have_text("Offline", timeout=SILENCE_MS)
    expect(page.locator('[data-field="reason"]')).to_contain_text("no sign of life")
    expect(page.locator("#history li").first).to_contain_text("Offline")


def test_the_overview_counts_devices_and_open_alerts_and_leads_to_them(opened: Opened) -> None:
    device, _ = halls.new_device()
    page = opened("/dashboard/")
    in_maintenance, critical = number(page, "status-maintenance"), number(page, "severity-critical")
    devices.change_status(device.pk, "maintenance", reason="new filter", now=halls.now())
    raised = raise_alert(title("Motor stopped"), device)
    eventually(lambda: number(page, "status-maintenance") == in_maintenance + 1)
    eventually(lambda: number(page, "severity-critical") == critical + 1)
    page.locator('[data-count="severity-critical"] a').click()
    expect(alert_row(page, raised)).to_be_visible()
    page.go_back()
    page.locator('[data-count="status-maintenance"] a').click()
    expect(device_row(page, device)).to_be_visible()


# --- Alerts ---------------------------------------------------------------------------------


def test_an_alert_appears_is_acknowledged_and_resolved_and_a_second_window_sees_it(
    opened: Opened,
) -> None:
    device, _ = halls.new_device()
    page = opened("/dashboard/alerts/")
    second = opened(f"/dashboard/devices/{device.pk}/")
    raised = raise_alert(title("Too hot"), device)
    expect(alert_row(page, raised)).to_contain_text("Active", timeout=SOON_MS)
    expect(alert_row(page, raised)).to_contain_text(device.name)
    expect(alert_row(second, raised)).to_contain_text("Active", timeout=SOON_MS)
    alert_row(page, raised).get_by_role("button", name="Acknowledge").click()
    expect(alert_row(second, raised)).to_contain_text("Acknowledged operator", timeout=SOON_MS)
    expect(alert_row(page, raised)).to_contain_text("Acknowledged operator", timeout=SOON_MS)
    expect(alert_row(page, raised).get_by_role("button", name="Acknowledge")).to_be_hidden()
    alert_row(second, raised).get_by_role("button", name="Resolve").click()
    expect(alert_row(second, raised)).to_contain_text("Resolved", timeout=SOON_MS)
    # It is not open any more.
    expect(alert_row(page, raised)).to_have_count(0, timeout=SOON_MS)
    raised.refresh_from_db()
    assert (raised.status, raised.resolved_by.username) == ("resolved", "operator")


def test_a_rule_s_alert_appears_and_goes_when_the_value_does(
    pages: Server, opened: Opened, connect: Connect
) -> None:
    device, token = halls.new_device(name=title("Oven"))
    page = opened("/dashboard/alerts/")
    ws = speak(pages, connect, token)
    report(ws, device, temperature=95.0)
    row = page.locator("[data-alert]", has_text=device.name)
    expect(row).to_contain_text("Active", timeout=SOON_MS)
    report(ws, device, temperature=20.0)
    expect(row).to_have_count(0, timeout=SOON_MS)


def test_a_viewer_sees_alerts_and_is_offered_no_action(pages: Server, visit: Visit) -> None:
    viewer = f"viewer-{uuid.uuid4().hex[:8]}"
    User.objects.create_user(viewer, role=roles.VIEWER, password="only-looks-2024")
    raised = raise_alert(title("Filter old"))
    page = visit(pages).sign_in(viewer, "/dashboard/alerts/", password="only-looks-2024")
    expect_live(page)
    expect(alert_row(page, raised)).to_be_visible()
    later = raise_alert(title("Filter older"))
    expect(alert_row(page, later)).to_be_visible(timeout=SOON_MS)
    expect(page.locator("#alerts button")).to_have_count(0)


# --- System ---------------------------------------------------------------------------------


def test_the_system_s_charts_fill(opened: Opened) -> None:
    page = opened("/dashboard/system/")
    for metric in ("cpu_usage", "memory_usage", "disk_usage", "active_connections"):
        eventually(lambda metric=metric: len(drawn(page, metric)) >= 2)
    expect(page.locator('[data-metric="cpu_usage"]')).to_contain_text("Processor")
    expect(page.locator("#no-values")).to_be_hidden()


# --- Admin ----------------------------------------------------------------------------------


def test_the_admin_sends_commands_and_shows_tokens_that_fit_the_page(
    pages: Server, visit: Visit, operator_session: Any
) -> None:
    device, _ = halls.new_device(name=title("Pump"))
    page: Page = visit(pages, storage_state=operator_session).page
    page.goto(f"{pages.url}/admin/devices/device/{device.pk}/change/")
    page.get_by_role("link", name="Send command…").click()
    page.get_by_label("Command").fill("restart")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text(f"{device.name}: sent command")).to_be_visible()
    page.goto(f"{pages.url}/admin/devices/device/?q={device.external_id}")
    page.locator("input.action-select").check()
    page.locator("select[name=action]").select_option("issue_token")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("eyJ")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# --- Faults ---------------------------------------------------------------------------------


def test_open_pages_recover_when_the_server_restarts(
    mortal_pages: Server, opened: Opened, connect: Connect
) -> None:
    device, token = halls.new_device()
    store_past(device, 20.0)
    chart = opened(f"/dashboard/devices/{device.pk}/", on=mortal_pages)
    table = opened("/dashboard/alerts/", on=mortal_pages)
    eventually(lambda: drawn(chart, "temperature") == [20])
    mortal_pages.terminate()
    expect(chart.locator("[data-link]")).to_contain_text("trying again")
    # What happened meanwhile is there when they are back.
    raised = raise_alert(title("While you were out"), device)
    devices.change_status(device.pk, "warning", reason="meanwhile", now=halls.now())
    mortal_pages.restart()
    ws = speak(mortal_pages, connect, token)
    report(ws, device, temperature=24.0)
    expect_live(chart)
    expect_live(table)
    eventually(lambda: drawn(chart, "temperature") == [20, 24])
    expect(chart.locator("[data-device-status]")).to_have_text("Warning")
    expect(alert_row(chart, raised)).to_contain_text("Active")
    expect(alert_row(table, raised)).to_contain_text("Active")


def test_markup_in_names_titles_and_metrics_is_shown_as_text(
    pages: Server, opened: Opened, connect: Connect
) -> None:
    device, token = halls.new_device(name=EVIL, location=EVIL)
    stored = raise_alert(EVIL, device, message=EVIL)
    store_past(device, 20.0, metric=EVIL)
    ws = speak(pages, connect, token)
    page = opened("/dashboard/devices/")
    report(ws, device, **{EVIL: 7.0})
    row = device_row(page, device)
    expect(row).to_contain_text(f"{EVIL} 7 °C", timeout=SOON_MS)
    expect(row.locator("a")).to_have_text(EVIL)
    expect_no_markup(page)
    page.goto(f"{pages.url}/dashboard/devices/{device.pk}/")
    expect_live(page)
    report(ws, device, **{EVIL: 8.0})
    eventually(lambda: drawn(page, EVIL) == [20, 7, 8])
    expect(page.locator("h1")).to_have_text(EVIL)
    expect_no_markup(page)
    page.goto(f"{pages.url}/dashboard/alerts/")
    expect_live(page)
    raised = raise_alert(EVIL, device, message=EVIL)
    for alert in (stored, raised):
        expect(alert_row(page, alert).locator('[data-field="title"]')).to_have_text(EVIL)
        expect(alert_row(page, alert).locator('[data-field="message"]')).to_have_text(EVIL)
    expect_no_markup(page)


def expect_no_markup(page: Page) -> None:
    expect(page.locator("main img")).to_have_count(0)
    expect(page).not_to_have_title("owned")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_small_screen(opened: Opened, scheme: str) -> None:
    device, _ = halls.new_device(name="W" * 90, location="m" * 90)
    store_past(device, 1e308, 1e-9, metric="x" * 60)
    raise_alert("l" * 150, device, message="w" * 150)
    page = opened("/dashboard/", viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for path in ("./", "devices/", f"devices/{device.pk}/", "alerts/", "system/"):
        page.goto(urljoin(page.url, f"/dashboard/{path}"))
        expect_live(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
