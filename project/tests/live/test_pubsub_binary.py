"""Binary messages against a real server: lies in headers, files, streams, who gets what."""

import base64
import hashlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from project.tests.live.admin import Admin
from project.tests.live.raw import BINARY, Ended, RawWebSocket, Silence
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from project.tests.live.talkers import Talker
from realtime import files
from realtime.dialects.pubsub.schema import BinaryMessage, Kind, encode_binary, parse_binary
from realtime.models import LooseContent, StoredFile

Connect = Callable[..., RawWebSocket]
CONTENT = bytes(range(256)) * 4


class Sender(Talker):
    """A member of the dialect who speaks binary as well."""

    def send_binary(self, kind: int, address: str, content: bytes = CONTENT) -> None:
        self.ws.send_frame(BINARY, encode_binary(BinaryMessage(Kind(kind), address, content)))

    def received(self) -> dict[str, Any]:
        """Return the details of the next `binary_received`."""
        data = self.await_message(_answers_binary)["data"]
        assert data.get("status") == "binary_received", data
        details: dict[str, Any] = data["details"]
        return details

    def refused(self) -> dict[str, Any]:
        data = self.await_message(_answers_binary)["data"]
        assert "code" in data, data
        refusal: dict[str, Any] = data
        return refusal

    def subscribe_binary(self, *topics: str) -> None:
        kind, data = self.ask("Subscribe", {"topics": topics, "binary": True})
        assert (kind, data["status"]) == ("Ack", "subscribed")

    def hear_binary(self) -> BinaryMessage:
        frame = self.ws.read_frame()
        assert frame.opcode == BINARY, frame
        return parse_binary(frame.payload)

    def hear_base64(self, kind: str = "Broadcast") -> bytes:
        return base64.b64decode(self.hear(kind)["base64"])

    @property
    def still_talks(self) -> bool:
        self.ws.send_json({"type": "Ping", "data": {"timestamp": 1}})
        return bool(self.await_type("Pong"))

    @property
    def area(self) -> files.Area:
        return files.area_of_user(User.objects.get(username=self.username).pk)


def _answers_binary(message: dict[str, Any]) -> bool:
    is_receipt = message["data"].get("status") == "binary_received"
    return is_receipt or message["type"] == "Error"


@pytest.fixture
def talker(connect: Connect, server: Server) -> Sender:
    return Sender.connect(connect, server)


def checksum_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def payload(address: bytes, content: bytes = b"x", length: int | None = None) -> bytes:
    return struct.pack("!H", len(address) if length is None else length) + address + content


def header(kind: int, length: int) -> bytes:
    return struct.pack("!BI", kind, length)


# --- Lies ------------------------------------------------------------------------------------

WHOLE = payload(b"chat.x")
LIES = {
    "nothing at all": (b"", "header"),
    "one byte": (b"\x01", "header"),
    "a header that is cut": (header(1, 9)[:-1], "header"),
    "no payload": (header(1, 0), "address_length"),
    "a length too long": (header(1, len(WHOLE) + 1) + WHOLE, "length"),
    "a length too short": (header(1, len(WHOLE) - 1) + WHOLE, "length"),
    "a length of four gigabytes": (header(3, 2**32 - 1) + WHOLE, "length"),
    "a type that is none": (header(5, len(WHOLE)) + WHOLE, "type"),
    "type zero": (header(0, len(WHOLE)) + WHOLE, "type"),
    "half an address length": (header(2, 1) + b"\x00", "address_length"),
    "an address longer than the payload": (
        header(2, 4) + payload(b"a", b"x", 500),
        "address_length",
    ),
    "an empty address": (header(4, 3) + payload(b""), "address"),
    "an address that is no UTF-8": (header(4, 5) + payload(b"\xff\xfe"), "address"),
    "a stream with a wildcard": (header(4, 4) + payload(b"*"), "address"),
    "a file with a path": (header(3, 14) + payload(b"../../etc/x"), "address"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_told_so_and_the_connection_stays(talker: Sender, lie: str) -> None:
    data, field = LIES[lie]
    talker.ws.send_frame(BINARY, data)
    refusal = talker.refused()
    assert (refusal["code"], refusal["details"]["field"]) == (400, field), refusal
    assert talker.still_talks


def test_noise_never_ends_a_connection(talker: Sender, soak: int) -> None:
    for _ in range(50 * soak):
        noise = bytes([os.urandom(1)[0] % 6]) + os.urandom(os.urandom(1)[0])
        talker.ws.send_frame(BINARY, noise)
        assert talker.refused()["code"] == 400
        time.sleep(0.01)  # Within the rate.
    assert talker.still_talks


def test_sizes_are_those_of_text(talker: Sender) -> None:
    talker.send_binary(4, "camera", bytes(64 * 1024 - 5 - 2 - 6))
    assert talker.received()["size"] == 64 * 1024 - 13
    talker.send_binary(4, "camera", bytes(64 * 1024))
    refusal = talker.refused()
    assert (refusal["code"], refusal["details"]["limit"]) == (413, 64 * 1024)
    assert talker.still_talks
    talker.send_binary(4, "camera", bytes(1024 * 1024))
    assert talker.ws.ending().code == 1009


def test_a_flood_of_binary_messages_is_a_flood(talker: Sender) -> None:
    for _ in range(250):
        talker.send_binary(4, "camera", b"")
    answers = [talker.ws.read_json()["data"] for _ in range(250)]
    refusals = [each for each in answers if each.get("code") == 429]
    assert refusals
    assert refusals[0]["details"]["retry_after_ms"] > 0
    with pytest.raises(Ended) as ended:
        _flood(talker)
    assert ended.value.ending.code == 1008


def _flood(talker: Sender) -> None:
    """Go on until the connection ends. Raises Ended."""
    while True:
        talker.send_binary(4, "camera", b"")
        talker.ws.read_json()


# --- Broadcasts --------------------------------------------------------------------------------


def test_a_broadcast_is_delivered_in_either_form_and_kept(
    talker: Sender, connect: Connect, server: Server
) -> None:
    topic = f"chat.{os.urandom(4).hex()}"
    binary, text = Sender.connect(connect, server), Sender.connect(connect, server)
    binary.subscribe_binary(topic)
    text.subscribe(topic)
    talker.subscribe(topic)
    talker.send_binary(1, topic)
    details = talker.received()
    assert (details["size"], details["type"]) == (len(CONTENT), "broadcast")
    assert details["checksum"] == checksum_of(CONTENT)
    assert details["recipients"] == 3
    assert binary.hear_binary() == BinaryMessage(Kind.BROADCAST, topic, CONTENT)
    data = text.await_type("Broadcast")
    assert (data["topic"], data["from_user"]) == (topic, talker.username)
    assert base64.b64decode(data["payload"]["base64"]) == CONTENT
    assert data["metadata"]["position"] == details["position"]
    # The sender hears its own as well.
    assert talker.hear_base64() == CONTENT
    late = Sender.connect(connect, server)
    late.send("History", {"topic": topic})
    [kept] = late.await_type("History")["messages"]
    assert base64.b64decode(kept["data"]["payload"]["base64"]) == CONTENT


def test_what_was_missed_is_recovered_in_binary(
    talker: Sender, connect: Connect, server: Server
) -> None:
    topic = f"chat.{os.urandom(4).hex()}"
    talker.send_binary(1, topic, b"0")
    since = talker.received()["position"]
    for number in (b"1", b"2", b"3"):
        talker.send_binary(1, topic, number)
        talker.received()
    late = Sender.connect(connect, server)
    late.ask("Subscribe", {"topics": [topic], "binary": True, "recover": {"position": since}})
    assert [late.hear_binary().content for _ in range(3)] == [b"1", b"2", b"3"]


def test_answers_keep_the_order_of_text_and_binary_messages(talker: Sender) -> None:
    topic = f"chat.{os.urandom(4).hex()}"
    for number in range(30):
        if number % 3:
            talker.send_binary(1, topic, b"%d" % number)
        else:
            talker.send("Broadcast", {"topic": topic, "payload": number}, id=f"n{number}")
    positions = []
    for number in range(30):
        message = talker.ws.read_json()
        data = message["data"].get("details", message["data"])
        if number % 3:
            assert data["checksum"] == checksum_of(b"%d" % number)
        else:
            assert data["message_id"] == f"n{number}"
        positions.append(int(data["position"].rpartition("-")[2]))
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("alerts.1", 403),
        ("users.someone", 403),
        ("presence.x", 403),
        ("chat.*", 400),
        ("a..b", 400),
    ],
)
def test_a_topic_that_is_not_theirs_is_refused(talker: Sender, topic: str, code: int) -> None:
    talker.send_binary(1, topic)
    refusal = talker.refused()
    assert (refusal["code"], refusal["details"]["checksum"]) == (code, checksum_of(CONTENT))
    assert talker.still_talks


def test_an_acknowledged_broadcast_survives_a_killed_server(
    fresh_server: Server, connect: Connect
) -> None:
    talker = Sender.connect(connect, fresh_server)
    topic = f"chat.{os.urandom(4).hex()}"
    for number in range(20):
        talker.send_binary(1, topic, b"%d" % number)
    acknowledged = [talker.received()["checksum"] for _ in range(10)]
    fresh_server.kill()
    fresh_server.restart()
    late = Sender.connect(connect, fresh_server)
    late.send("History", {"topic": topic, "limit": 100})
    kept = [
        checksum_of(base64.b64decode(each["data"]["payload"]["base64"]))
        for each in late.await_type("History")["messages"]
    ]
    assert kept[:10] == acknowledged


# --- Direct messages ---------------------------------------------------------------------------


def test_a_direct_message_comes_from_its_sender_in_either_form(
    talker: Sender, connect: Connect, server: Server
) -> None:
    bea = Sender.connect(connect, server)
    talker.send_binary(2, bea.username)
    details = talker.received()
    assert (details["type"], details["delivered_to"]) == ("direct_message", [bea.connection_id])
    data = bea.await_type("DirectMessage")
    assert data["from_user"] == talker.username
    assert base64.b64decode(data["payload"]["base64"]) == CONTENT
    # By id as well, and in binary for who takes it, whatever it subscribes to.
    bea.subscribe_binary("chat.nothing")
    talker.send_binary(2, str(User.objects.get(username=bea.username).pk))
    talker.received()
    assert bea.hear_binary() == BinaryMessage(Kind.DIRECT_MESSAGE, talker.username, CONTENT)


@pytest.mark.redis
@pytest.mark.parametrize("turn", [1, -1])
def test_binary_messages_reach_who_is_on_the_other_process(
    servers: tuple[Server, Server], connect: Connect, turn: int
) -> None:
    here, there = servers[::turn]
    topic = f"chat.{os.urandom(4).hex()}"
    talker, bea = Sender.connect(connect, here), Sender.connect(connect, there)
    bea.subscribe_binary(topic)
    eventually(lambda: _is_counted(talker, topic), within=20)
    content = os.urandom(40_000)
    talker.send_binary(1, topic, content)
    talker.send_binary(2, bea.username, content)
    heard = []
    while len(heard) < 2:
        message = bea.hear_binary()
        heard += [message] if message.content else []
    assert heard == [
        BinaryMessage(Kind.BROADCAST, topic, content),
        BinaryMessage(Kind.DIRECT_MESSAGE, talker.username, content),
    ]


def _is_counted(talker: Sender, topic: str) -> bool:
    """Say nothing in particular; a busy process counts late, one that is new is not asked."""
    talker.send_binary(1, topic, b"")
    return bool(talker.received()["recipients"] == 1)


def test_a_direct_message_waits_for_who_is_away(
    talker: Sender, connect: Connect, server: Server
) -> None:
    away = new_surgeon("ROLE_MEMBER")
    talker.send_binary(2, away)
    refusal = talker.refused()
    assert (refusal["code"], refusal["details"]["queued"]) == (404, True)
    assert refusal["details"]["checksum"] == checksum_of(CONTENT)
    assert Sender.connect(connect, server, away).hear_base64("DirectMessage") == CONTENT
    talker.send_binary(2, "nobody at all")
    refusal = talker.refused()
    assert (refusal["code"], refusal["details"]["queued"]) == (404, False)


# --- Streams ---------------------------------------------------------------------------------


def test_a_stream_is_heard_in_order_in_either_form(
    talker: Sender, connect: Connect, server: Server
) -> None:
    name = f"camera.{os.urandom(4).hex()}"
    binary, text = Sender.connect(connect, server), Sender.connect(connect, server)
    binary.subscribe_binary("streams.**")
    text.subscribe(f"streams.{name}")
    pieces = [os.urandom(1000) for _ in range(20)]
    for piece in pieces:
        talker.send_binary(4, name, piece)
        details = talker.received()
        assert details == {
            "size": 1000,
            "type": "stream_data",
            "checksum": checksum_of(piece),
        }
    for piece in pieces:
        assert binary.hear_binary() == BinaryMessage(Kind.STREAM_DATA, name, piece)
        data = text.await_type("Broadcast")
        assert (data["topic"], data["from_user"]) == (f"streams.{name}", talker.username)
        assert base64.b64decode(data["payload"]["base64"]) == piece


def test_who_may_not_hear_chat_may_not_stream(connect: Connect, server: Server) -> None:
    viewer = Sender.connect(connect, server, role="ROLE_VIEWER")
    viewer.subscribe("streams.*")
    viewer.send_binary(4, "camera")
    assert viewer.refused()["code"] == 403


@pytest.mark.redis
@pytest.mark.parametrize("turn", [1, -1])
def test_a_stream_reaches_the_other_process(
    servers: tuple[Server, Server], connect: Connect, turn: int
) -> None:
    here, there = servers[::turn]
    name = f"camera.{os.urandom(4).hex()}"
    sender, binary, text = (
        Sender.connect(connect, here),
        Sender.connect(connect, there),
        Sender.connect(connect, there),
    )
    binary.subscribe_binary(f"streams.{name}")
    text.subscribe("streams.**")
    eventually(lambda: _arrives(sender, binary, name), within=15)
    pieces = [os.urandom(48_000) for _ in range(10)]
    for piece in pieces:
        sender.send_binary(4, name, piece)
        sender.received()
    while (message := binary.hear_binary()).content == b"":
        pass  # More of the first ones arrived after all.
    assert [message, *(binary.hear_binary() for _ in pieces[1:])] == [
        BinaryMessage(Kind.STREAM_DATA, name, piece) for piece in pieces
    ]
    told: list[bytes] = []
    while len(told) < len(pieces):
        piece = text.hear_base64()
        told += [piece] if piece else []
    assert told == pieces


def _arrives(sender: Sender, listener: Sender, name: str) -> bool:
    """Send a piece; of what a process that has just started says, the first may be missed."""
    sender.send_binary(4, name, b"")
    sender.received()
    try:
        listener.ws.read_frame(within=1.5)
    except Silence:
        return False
    return True


# --- Files -----------------------------------------------------------------------------------


def test_a_file_is_kept_for_its_sender_and_managed_in_the_admin(
    talker: Sender, connect: Connect, server: Server, files_root: Path
) -> None:
    talker.send_binary(3, "scan ü.bin", b"first")
    assert talker.received()["type"] == "file_transfer"
    talker.send_binary(3, "scan u\u0308.bin", CONTENT)
    assert talker.received() == {
        "size": len(CONTENT),
        "type": "file_transfer",
        "checksum": checksum_of(CONTENT),
        "name": "scan ü.bin",
    }
    [file] = files.list_files(talker.area)
    assert (files_root / file.content).read_bytes() == CONTENT
    assert (files_root / file.content).stat().st_mode & 0o077 == 0
    other = Sender.connect(connect, server)
    assert files.list_files(other.area) == []
    admin = Admin(server)
    assert "scan ü.bin" in admin.get(f"/admin/realtime/storedfile/?q={file.sha256}")
    with admin._opener.open(f"{server.url}/admin/realtime/storedfile/{file.pk}/download/") as got:
        assert got.read() == CONTENT
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Content-Disposition"].startswith("attachment")
    fields = {"action": "delete_selected", "_selected_action": file.pk, "post": "yes"}
    page = admin.get("/admin/realtime/storedfile/")
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    admin.post("/admin/realtime/storedfile/", {**fields, "csrfmiddlewaretoken": token})
    assert files.list_files(talker.area) == []
    assert not (files_root / file.content).exists()


def test_a_full_area_is_told_with_limit_and_use(
    start_server: Callable[..., Any], connect: Connect
) -> None:
    with start_server(
        VITALWIRE_FILE_BYTES="2000", VITALWIRE_FILE_AREA_BYTES="3000", VITALWIRE_FILES_PER_AREA="2"
    ) as small:
        talker = Sender.connect(connect, small)
        talker.send_binary(3, "a")
        talker.received()
        for name, content, limit in (
            ("b", bytes(2001), 2000),
            ("b", bytes(1977), 3000),
        ):
            talker.send_binary(3, name, content)
            refusal = talker.refused()
            assert (refusal["code"], refusal["details"]["limit"]) == (413, limit)
        talker.send_binary(3, "b")
        talker.received()
        talker.send_binary(3, "c", b"")
        refusal = talker.refused()
        assert (refusal["details"]["limit"], refusal["details"]["used"]) == (2, 2)
        assert talker.still_talks


def test_an_acknowledged_file_survives_a_killed_server(
    fresh_server: Server, connect: Connect, files_root: Path
) -> None:
    talker = Sender.connect(connect, fresh_server)
    acknowledged = {}
    for number in range(30):
        # Every name twice: replacing is what may go wrong.
        name, content = f"file {number % 15}", os.urandom(20_000)
        talker.send_binary(3, name, content)
        assert talker.received()["checksum"] == checksum_of(content)
        acknowledged[name] = checksum_of(content)
    for number in range(15):
        talker.send_binary(3, f"file {number}", os.urandom(20_000))
    fresh_server.kill()
    for file in files.list_files(talker.area):
        content = (files_root / file.content).read_bytes()
        assert checksum_of(content) == f"sha256:{file.sha256}"
        assert acknowledged.pop(file.name)
    assert not acknowledged
    # Whatever lies in the folder is somebody's, or known to be nobody's.
    named = set(StoredFile.objects.values_list("content", flat=True))
    named |= set(LooseContent.objects.values_list("content", flat=True))
    lying = {str(path.relative_to(files_root)) for path in files_root.rglob("*") if path.is_file()}
    assert lying <= named
