"""The telemetry dialect in MessagePack, beside clients that speak JSON; in Chromium as well."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgpack
import pytest

from project.tests.live.halls import listen, new_device, stored_values, telemetry, until
from project.tests.live.packing import PACKED, PackingWebSocket
from project.tests.live.raw import BINARY, PING, Ended, RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon

pytest_plugins = ["project.tests.live.browser"]

Connect = Callable[..., RawWebSocket]
MSGPACK = "vitalwire.msgpack"
OFFER = "Sec-WebSocket-Protocol"
MANY = {f"metric_{number}": 20.0 + number for number in range(8)}


class PackedClient(PackingWebSocket):
    """Speaks MessagePack, and offers compression, too."""

    def __init__(self, url: str, *, more: str = "", **options: Any) -> None:
        offers = f"{MSGPACK}, {more}" if more else MSGPACK
        super().__init__(url, headers={OFFER: offers}, **options)

    @property
    def selected(self) -> str | None:
        return self.response.headers.get(OFFER.lower())

    def say(self, message: Any) -> None:
        self.send_frame(BINARY, msgpack.packb(message))

    def hear(self) -> tuple[Any, bool]:
        """Return the next message and whether it was compressed."""
        while (got := self.read_frame()).opcode == PING:
            pass
        assert got.opcode == BINARY, got
        return msgpack.unpackb(got.payload), got.reserved == PACKED

    def until(self, kind: str) -> Any:
        while (message := self.hear()[0])["type"] != kind:
            pass
        return message


@pytest.fixture
def connect_packed() -> Iterator[Callable[..., PackedClient]]:
    with ExitStack() as stack:

        def connect_to(url: str, **options: Any) -> PackedClient:
            return stack.enter_context(PackedClient(url, **options))

        yield connect_to


ConnectPacked = Callable[..., PackedClient]


def signed_in(connect_packed: ConnectPacked, server: Server, token: str) -> PackedClient:
    ws = connect_packed(server.ws_url("/ws"))
    assert ws.selected == MSGPACK
    ws.say({"type": "auth", "token": token})
    assert ws.hear()[0] == {"type": "auth_response", "success": True}
    return ws


def test_a_device_reports_and_both_forms_hear_the_same(
    server: Server, connect: Connect, connect_packed: ConnectPacked
) -> None:
    made, token = new_device()
    wish = {"channel": "telemetry", "device_id": made.pk}
    plain = listen(connect, server, wish)
    packed = signed_in(connect_packed, server, server.token_for(new_surgeon("ROLE_OPERATOR")))
    packed.say({"type": "subscribe", **wish})
    assert packed.until("subscribed")["device_id"] == made.pk
    device = signed_in(connect_packed, server, token)
    device.say(telemetry(made.pk, "a1", temperature=20.5))
    ack = {"type": "telemetry_ack", "id": "a1", "device_id": made.pk, "accepted": 1}
    assert device.until("telemetry_ack") == ack
    assert packed.until("telemetry_update") == until(plain, "telemetry_update")
    device.say({"type": "batch", "messages": [telemetry(made.pk, "a2", **MANY), {"type": "ping"}]})
    results = device.until("batch_response")["results"]
    assert [result["type"] for result in results] == ["telemetry_ack", "pong"]
    message, was_compressed = packed.hear()
    assert message == until(plain, "telemetry_update")
    assert was_compressed
    assert stored_values(made) == [20.5]


@pytest.mark.parametrize("path", ["/ws/device", "/ws/telemetry"])
def test_a_token_may_be_offered_beside_it(
    server: Server, connect_packed: ConnectPacked, path: str
) -> None:
    token = server.token_for(new_surgeon("ROLE_OPERATOR"))
    ws = connect_packed(server.ws_url(path), more=f"access_token.{token}")
    assert ws.selected == MSGPACK
    assert ws.hear()[0] == {"type": "auth_response", "success": True}


def test_on_ws_a_token_means_pubsub_which_has_no_messagepack(
    server: Server, connect_packed: ConnectPacked
) -> None:
    token = server.token_for(new_surgeon("ROLE_OPERATOR"))
    ws = connect_packed(server.ws_url("/ws"), more=f"realtime.v1, access_token.{token}")
    assert ws.selected == "realtime.v1"
    assert ws.read_json()["type"] == "Status"


def test_each_form_refuses_the_other_and_stays(
    server: Server, connect: Connect, connect_packed: ConnectPacked
) -> None:
    token = server.token_for(new_surgeon("ROLE_OPERATOR"))
    packed = connect_packed(server.ws_url("/ws"))
    packed.send_text('{"type":"auth","token":"x"}')
    assert packed.hear()[0]["code"] == "text_not_supported"
    packed.say({"type": "auth", "token": token})
    assert packed.until("auth_response")["success"]
    packed.send_text('{"type":"ping"}')
    assert packed.until("error")["code"] == "text_not_supported"
    packed.say({"type": "ping"})
    assert packed.until("pong")
    plain = listen(connect, server, token=token)
    plain.send_frame(BINARY, msgpack.packb({"type": "ping"}))
    assert until(plain, "error")["code"] == "binary_not_supported"
    plain.send_json({"type": "ping"})
    assert until(plain, "pong")


def test_what_is_wrong_is_told_by_field_and_what_is_too_big_ends_with_1009(
    server: Server, connect_packed: ConnectPacked
) -> None:
    token = server.token_for(new_surgeon("ROLE_OPERATOR"))
    ws = signed_in(connect_packed, server, token)
    ws.say({"type": "subscribe", "channel": "chat"})
    refusal = ws.until("error")
    assert (refusal["code"], refusal["field"]) == ("unknown_channel", "channel")
    ws.send_frame(BINARY, b"\xc1")
    assert ws.until("error")["code"] == "invalid_msgpack"
    ws.say({"type": "ping", "filling": "x" * 1024})
    assert ws.until("error")["code"] == "message_too_large"
    ws.send_packed(msgpack.packb({"type": "ping", "filling": "x" * 64 * 1024}), opcode=BINARY)
    assert ws.ending().code == 1009


def test_a_refusal_is_packed_too(server: Server, connect_packed: ConnectPacked) -> None:
    ws = connect_packed(server.ws_url("/ws"))
    ws.say({"type": "auth", "token": "nonsense"})
    answer = ws.hear()[0]
    assert (answer["success"], answer["error"]) == (False, "invalid_token")
    with pytest.raises(Ended) as ended:
        ws.read()
    assert ended.value.ending.code == 1008


# --- In Chromium, which offers compression by itself -----------------------------------------

# Just what is needed of MessagePack; the answer is shown as hexadecimal digits.
PAGE = """async ([url, protocols, bytes]) => {
  const socket = new WebSocket(url, protocols);
  socket.binaryType = "arraybuffer";
  const heard = [];
  await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(new Uint8Array(bytes));
    socket.onerror = reject;
    socket.onmessage = event => {
      heard.push([...new Uint8Array(event.data)]);
      if (heard.length === 2) resolve();
    };
  });
  const found = [socket.protocol, socket.extensions, heard];
  socket.close();
  return found;
}"""


@pytest.mark.browser
def test_chromium_speaks_it_with_compression(pages: Server, visit: Callable[..., Any]) -> None:
    token = pages.token_for(new_surgeon("ROLE_OPERATOR"))
    window = visit(pages)
    window.page.goto(f"{pages.url}/login/")
    url = pages.ws_url("/ws/device")
    offers = [MSGPACK, f"access_token.{token}"]
    # Its answer is longer than what is not compressed.
    ping = msgpack.packb({"type": "ping", "timestamp": "x" * 60})
    protocol, extensions, heard = window.page.evaluate(PAGE, [url, offers, list(ping)])
    assert protocol == MSGPACK
    assert extensions.startswith("permessage-deflate")
    messages = [msgpack.unpackb(bytes(each)) for each in heard]
    assert messages[0] == {"type": "auth_response", "success": True}
    assert (messages[1]["type"], messages[1]["timestamp"]) == ("pong", "x" * 60)


@pytest.mark.browser
def test_chromium_unpacks_what_is_compressed(
    pages: Server, visit: Callable[..., Any], connect: Connect
) -> None:
    window = visit(pages)
    window.page.goto(f"{pages.url}/login/")
    token = pages.token_for("operator")
    made, device_token = new_device()
    page = """async ([url, topic]) => {
      const socket = window.heard = new WebSocket(url);
      window.messages = [];
      socket.onmessage = event => window.messages.push(event.data);
      await new Promise(resolve => socket.onopen = resolve);
      socket.send(JSON.stringify({type: "Subscribe", id: "1", data: {topics: [topic]}}));
      while (!window.messages.some(text => JSON.parse(text).type === "Ack"))
        await new Promise(resolve => setTimeout(resolve, 20));
      return socket.extensions;
    }"""
    url = pages.ws_url("/ws/pubsub", token=token)
    extensions = window.page.evaluate(page, [url, f"telemetry.{made.pk}"])
    assert extensions.startswith("permessage-deflate")
    device = connect(pages.ws_url("/ws/device"))
    device.send_json({"type": "auth", "token": device_token})
    device.send_json(telemetry(made.pk, **MANY))
    eventually(
        lambda: window.page.evaluate("window.messages.some(text => text.includes('metric_7'))")
    )
    texts = window.page.evaluate("window.messages")
    assert any(len(text) > 512 and "metric_7" in text for text in texts)
