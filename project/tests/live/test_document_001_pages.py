"""The JavaScript classes that the telemetry document prints, run as they are in a Chromium."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from accounts.models import User
from devices.services import alerts, devices
from project.tests.live import documents
from project.tests.live.halls import new_device, now, sign_in, telemetry
from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually

pytest_plugins = ["project.tests.live.browser"]
pytestmark = pytest.mark.browser

# The class calls a method that the document prints further down, as a function.
GLUE = "ValtronicsWebSocket.prototype.handleAuthResponse = handleAuthResponse;"
# What the document's snippets leave to the page that they stand in.
AROUND = """
    window.seen = {telemetry: [], alerts: [], devices: [], system: [], refreshed: 0};
    window.refreshToken = () => { window.seen.refreshed += 1; };
    window.connect = (url, token) => {
        const client = new ValtronicsWebSocket(url, token);
        client.onTelemetryUpdate = (data) => window.seen.telemetry.push(data);
        client.onAlert = (data) => window.seen.alerts.push(data);
        client.onDeviceStatusUpdate = (data) => window.seen.devices.push(data);
        client.onSystemStatusUpdate = (data) => window.seen.system.push(data);
        window.client = client;
        client.connect();
        return new Promise((resolve) => client.ws.addEventListener("open", resolve));
    };
"""
CLASSES = (
    "class ValtronicsWebSocket {",
    "class WebSocketPool {",
    "class MessageBatcher {",
    "class ConnectionMonitor {",
    "class WebSocketDebugger {",
)


@pytest.fixture(scope="module")
def text() -> str:
    return documents.read(documents.TELEMETRY)


@pytest.fixture(scope="module")
def script(text: str) -> str:
    """Return every class and the one function they need, as printed, made global."""
    classes = "\n".join(documents.block_of(text, head) for head in CLASSES)
    names = ", ".join(head.split()[1] for head in CLASSES)
    function = documents.block_of(text, "function handleAuthResponse(data) {")
    shared = f"Object.assign(window, {{{names}}});"
    return f"(() => {{ {classes}\n{function}\n{GLUE}\n{shared}\n{AROUND} }})()"


@pytest.fixture
def page(browser: Browser, server: Server, script: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(f"{server.url}/healthz")
    page.evaluate(script)
    yield page
    page.close()


def see(page: Page, expression: str) -> Any:
    """Return what a browser expression is once it is true."""
    # Not wait_for_function(): it evaluates in the page, whose policy forbids that.
    return eventually(lambda: page.evaluate(expression))


def raise_for(device_id: int, severity: str) -> int:
    alert = alerts.raise_alert(
        title="High Temperature Alert",
        severity=severity,
        alert_type="threshold",
        now=now(),
        device_id=device_id,
        threshold_value=30.0,
        actual_value=32.5,
    )
    assert alert is not None
    return alert.pk


def test_the_javascript_client_hears_all_four_channels(
    server: Server, page: Page, connect: Callable[..., RawWebSocket]
) -> None:
    device, token = new_device()
    page.evaluate(
        """async ([url, token, id]) => {
            await connect(url, token);
            // At once, as the class does it: the answer to auth is not waited for.
            client.subscribe("telemetry", {device_id: id});
            client.subscribe("alerts", {severity: ["critical", "warning"]});
            client.subscribe("devices", {device_id: [id]});
            client.subscribe("system", {frequency: "1s"});
        }""",
        [server.ws_url("/ws"), server.token_for("operator"), device.pk],
    )
    see(page, "seen.system.length > 0")
    assert "cpu_usage" in page.evaluate("seen.system[0].metrics")

    reporter = sign_in(connect(server.ws_url("/ws")), token)
    reporter.send_json(telemetry(device.pk, "a1", temperature=23.5, humidity=45.2))
    update = see(page, "seen.telemetry.at(-1)")
    assert update["device_id"] == device.pk
    assert update["telemetry"]["temperature"]["value"] == 23.5
    assert see(page, f"seen.devices.find((each) => each.device_id === {device.pk})")

    quiet, loud = raise_for(device.pk, "info"), raise_for(device.pk, "critical")
    assert see(page, f"seen.alerts.find(({{alert_id}}) => alert_id === {loud})")
    alerts.acknowledge_alert(loud, by=User.objects.get(username="operator"), now=now())
    devices.change_status(device.pk, "maintenance", reason="inspection", now=now())
    see(page, "seen.devices.at(-1).new_status === 'maintenance'")
    # Acknowledging is no new alert, and what was not asked for was not sent.
    heard = page.evaluate("seen.alerts.map(({alert_id}) => alert_id)")
    assert heard.count(loud) == 1
    assert quiet not in heard
    page.evaluate("client.maxReconnectAttempts = 0, client.disconnect()")


def test_the_javascript_client_learns_that_its_token_is_bad(server: Server, page: Page) -> None:
    page.evaluate("(url) => connect(url, 'nonsense')", server.ws_url("/ws"))
    assert see(page, "seen.refreshed") == 1
    page.evaluate("client.maxReconnectAttempts = 0, client.disconnect()")


def test_the_usage_example_subscribes_before_it_is_connected_and_nothing_breaks(
    server: Server, page: Page
) -> None:
    page.evaluate(
        """([url, token]) => {
            const opened = connect(url, token);
            client.subscribe("telemetry", {device_id: 1});
            return opened;
        }""",
        [server.ws_url("/ws"), server.token_for("operator")],
    )
    assert see(page, "client.ws.readyState === WebSocket.OPEN")
    page.evaluate("client.maxReconnectAttempts = 0, client.disconnect()")


def test_the_batcher_sends_ten_messages_as_one_and_each_is_answered(
    server: Server, page: Page
) -> None:
    results = page.evaluate(
        """async ([url, token]) => {
            const ws = new WebSocket(url);
            await new Promise((resolve) => ws.addEventListener("open", resolve));
            const answers = [];
            ws.addEventListener("message", ({data}) => answers.push(JSON.parse(data)));
            ws.send(JSON.stringify({type: "auth", token}));
            const batcher = new MessageBatcher(ws);
            for (let n = 0; n < 13; n += 1) {
                batcher.send({type: "ping", timestamp: `2024-01-01T12:00:${10 + n}Z`});
            }
            const until = performance.now() + 5000;
            while (answers.length < 3 && performance.now() < until) {
                await new Promise((resolve) => setTimeout(resolve, 10));
            }
            ws.close();
            return answers;
        }""",
        [server.ws_url("/ws"), server.token_for("operator")],
    )
    assert [answer["type"] for answer in results] == [
        "auth_response",
        "batch_response",
        "batch_response",
    ]
    assert [len(answer["results"]) for answer in results[1:]] == [10, 3]
    assert {each["type"] for answer in results[1:] for each in answer["results"]} == {"pong"}


def test_the_monitor_and_the_debugger_go_with_our_messages(server: Server, page: Page) -> None:
    stats = page.evaluate(
        """async ([url, token]) => {
            const ws = new WebSocket(url);
            const monitor = new ConnectionMonitor();
            const debug = new WebSocketDebugger(ws);
            await new Promise((resolve) => ws.addEventListener("open", resolve));
            monitor.addConnection("one", ws);
            const answered = new Promise((resolve) => {
                ws.addEventListener("message", ({data}) => {
                    debug.log("info", "received", JSON.parse(data));
                    resolve();
                });
            });
            ws.send(JSON.stringify({type: "auth", token}));
            await answered;
            const open = monitor.stats.activeConnections;
            ws.close();
            monitor.removeConnection("one");
            return [open, monitor.stats.activeConnections];
        }""",
        [server.ws_url("/ws"), server.token_for("operator")],
    )
    assert stats == [1, 0]


def test_the_pool_finds_the_server_at_its_fixed_address(
    launch: Callable[..., Browser], server: Server, script: str
) -> None:
    """The pool's address is part of the class: this browser is told where that host is."""
    rule = f"--host-resolver-rules=MAP localhost:8000 127.0.0.1:{server.port}"
    page = launch(rule).new_page()
    page.evaluate(script)
    answers = page.evaluate(
        """async (token) => {
            const pool = new WebSocketPool(3);
            const sockets = new Set(Array.from({length: 4}, () => pool.getConnection()));
            const opened = (ws) => new Promise((resolve) => ws.addEventListener("open", resolve));
            const answer = (ws) => new Promise((resolve) => {
                ws.onmessage = ({data}) => resolve(JSON.parse(data).success);
                ws.send(JSON.stringify({type: "auth", token}));
            });
            return Promise.all([...sockets].map((ws) => opened(ws).then(() => answer(ws))));
        }""",
        server.token_for("operator"),
    )
    assert answers == [True, True, True]
