"""Binary messages over a socket in memory: files, streams, and who gets what in which form."""

import hashlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.db import OperationalError
from msgspec.structs import replace
from pytest_django import Settings

from accounts.models import User
from realtime import files
from realtime.calls import call
from realtime.core.limits import DialectLimits
from realtime.core.session import Principal
from realtime.dialects.pubsub.backing import Backing
from realtime.dialects.pubsub.binary import BINARY_DIALECT
from realtime.dialects.pubsub.consumer import PubsubConsumer
from realtime.dialects.pubsub.schema import Kind, parse_binary, payload_of_content
from realtime.hub import Hub
from realtime.tests.dialects.pubsub.test_consumer import NO_LIMITS, Client
from realtime.tests.doubles import principal
from realtime.tests.message_events import direct_message, published, stream_chunk
from realtime.tests.wire import Wire, authenticated, turns

MEMBER = ("chat.**",)
CONTENT = bytes(range(256))


def framed(kind: int, address: str | bytes, content: bytes = CONTENT) -> bytes:
    raw = address.encode() if isinstance(address, str) else address
    payload = struct.pack("!H", len(raw)) + raw + content
    return struct.pack("!BI", kind, len(payload)) + payload


def speaker(username: str = "ana", **changes: Any) -> Principal:
    who = principal(username, role="ROLE_MEMBER", subscribe=MEMBER)
    return replace(who, **{"publish": MEMBER, **changes})


class Talker(Client):
    """A client that sends binary messages, and hears both kinds."""

    def send_binary(self, kind: int, address: str | bytes, content: bytes = CONTENT) -> None:
        self.wire.say_bytes(framed(kind, address, content))

    async def received(self) -> dict[str, Any]:
        message = await self.hear()
        assert message["data"].get("status") == "binary_received", message
        details: dict[str, Any] = message["data"]["details"]
        return details

    async def hear_binary(self) -> tuple[Kind, str, bytes]:
        message = await self.wire.next()
        assert message.get("bytes") is not None, message
        read = parse_binary(message["bytes"])
        return read.kind, read.address, read.content


@pytest.fixture
def hub() -> Hub:
    return Hub(epoch="e")


async def connected(
    hub: Hub,
    who: Principal | None = None,
    limits: DialectLimits = NO_LIMITS,
    backing: Backing | None = None,
) -> Talker:
    talker = Talker(Wire(**authenticated(who or speaker())))
    backing = backing or Backing(binary_dialect=BINARY_DIALECT, publish_live=hub.deliver)
    await talker.wire.opened(PubsubConsumer(hub, limits, backing=backing))
    await talker.hear()
    return talker


@pytest.fixture
async def talker(hub: Hub) -> AsyncIterator[Talker]:
    talker = await connected(hub)
    yield talker
    await talker.wire.end()


async def still_talks(talker: Talker) -> bool:
    talker.send("Ping", {"timestamp": 1})
    return (await talker.hear())["type"] == "Pong"


# --- What is wrong with them -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "header"),
        (framed(1, "chat.x")[:-1], "length"),
        (framed(1, "chat.x") + b"x", "length"),
        (framed(5, "chat.x"), "type"),
        (framed(1, b"\xff"), "address"),
        (struct.pack("!BIH", 1, 2, 9), "address_length"),
    ],
)
async def test_a_header_that_lies_gets_error_400_and_the_connection_stays(
    talker: Talker, data: bytes, field: str
) -> None:
    talker.wire.say_bytes(data)
    refusal = await talker.refusal()
    assert (refusal["code"], refusal["details"]["field"]) == (400, field)
    assert await still_talks(talker)


async def test_sizes_and_rates_are_those_of_text(hub: Hub) -> None:
    talker = await connected(hub, limits=DialectLimits(message_bytes=300, messages_per_second=3))
    talker.send_binary(4, "camera")
    assert (await talker.received())["size"] == 256
    talker.send_binary(4, "camera", bytes(300))
    refusal = await talker.refusal()
    assert (refusal["code"], refusal["details"]["limit"]) == (413, 300)
    for _ in range(3):
        talker.send_binary(4, "camera", b"")
    codes = [(await talker.hear())["data"].get("code") for _ in range(3)]
    assert 429 in codes
    await talker.wire.end()


# --- Broadcasts and direct messages: what is refused; the rest is tested live ------------------


@pytest.mark.parametrize("topic", ["a..b", "chat.*", ".", "x" * 256, "chat.a b"])
async def test_a_broadcast_is_addressed_to_a_topic(talker: Talker, topic: str) -> None:
    talker.send_binary(1, topic)
    refusal = await talker.refusal()
    assert (refusal["code"], refusal["details"]["field"]) == (400, "address")


@pytest.mark.parametrize("topic", ["alerts.1", "updates.x", "users.ana", "surgeries.completed"])
async def test_a_broadcast_needs_the_right_to_its_topic(talker: Talker, topic: str) -> None:
    talker.send_binary(1, topic)
    refusal = await talker.refusal()
    assert (refusal["code"], refusal["details"]["topic"]) == (403, topic)


async def test_an_error_tells_by_checksum_which_message_it_is_about(talker: Talker) -> None:
    talker.send_binary(1, "alerts.1")
    details = (await talker.refusal())["details"]
    assert details["checksum"] == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert (details["type"], details["size"]) == ("broadcast", 256)


async def test_a_direct_message_needs_somebody_and_the_right(hub: Hub) -> None:
    async def find_nobody(target: str) -> None:
        return None

    backing = Backing(find_recipient=find_nobody)
    talker = await connected(hub, backing=backing)
    talker.send_binary(2, "nobody")
    refusal = await talker.refusal()
    assert (refusal["code"], refusal["details"]["queued"]) == (404, False)
    talker.send_binary(2, "x" * 151)
    assert (await talker.refusal())["details"]["field"] == "address"
    await talker.wire.end()
    viewer = await connected(hub, speaker(publish=()), backing=backing)
    viewer.send_binary(2, "nobody")
    assert (await viewer.refusal())["code"] == 403
    await viewer.wire.end()


async def test_what_cannot_be_committed_now_is_told_so(talker: Talker) -> None:
    talker.send_binary(1, "chat.a")
    refusal = await talker.refusal()
    assert refusal["code"] == 503
    assert refusal["details"]["retry_after_ms"] > 0
    assert await still_talks(talker)


# --- Streams ---------------------------------------------------------------------------------


async def test_a_piece_of_a_stream_is_relayed_and_its_receipt_told(
    talker: Talker, hub: Hub
) -> None:
    listener = await connected(hub, speaker("bea"))
    await listener.subscribe("streams.*")
    talker.send_binary(4, "camera")
    assert await talker.received() == {
        "size": 256,
        "type": "stream_data",
        "checksum": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
    }
    data = (await listener.hear())["data"]
    assert (data["topic"], data["from_user"]) == ("streams.camera", "ana")
    assert data["payload"] == {"base64": json.loads(bytes(payload_of_content(CONTENT)))}
    assert "position" not in data["metadata"]
    await listener.wire.end()


@pytest.mark.parametrize("name", ["a..b", "*", "a.*", "a b", ".", "x" * 250, "a\x00b"])
async def test_a_stream_has_a_topic_s_name(talker: Talker, name: str) -> None:
    talker.send_binary(4, name)
    refusal = await talker.refusal()
    assert (refusal["code"], refusal["details"]["field"]) == (400, "address")


async def test_streams_are_for_those_who_hear_all_of_chat(hub: Hub) -> None:
    talker = await connected(hub, speaker(subscribe=("chat.general", "updates.**")))
    talker.send("Subscribe", {"topics": ["streams.camera"]})
    assert (await talker.refusal())["code"] == 403
    await talker.hear()
    talker.send_binary(4, "camera")
    assert (await talker.refusal())["code"] == 403
    await talker.wire.end()


async def test_who_only_reads_hears_streams_and_sends_nothing(hub: Hub) -> None:
    viewer = await connected(hub, speaker(publish=()))
    await viewer.subscribe("streams.*")
    for kind, address in ((4, "camera"), (3, "a.txt")):
        viewer.send_binary(kind, address)
        assert (await viewer.refusal())["code"] == 403
    hub.deliver(stream_chunk())
    assert (await viewer.hear())["data"]["topic"] == "streams.camera"
    await viewer.wire.end()


# --- Who takes binary ------------------------------------------------------------------------


async def test_who_subscribes_with_binary_gets_binary_frames(hub: Hub, talker: Talker) -> None:
    plain = await connected(hub, speaker("bea"))
    await plain.subscribe("chat.*", "streams.*")
    talker.send("Subscribe", {"topics": ["chat.*", "streams.*"], "binary": True})
    await talker.hear()
    content = payload_of_content(CONTENT)
    for event, form in (
        (published(to="chat.a", is_binary=True), (Kind.BROADCAST, "chat.a", CONTENT)),
        (stream_chunk(content=CONTENT), (Kind.STREAM_DATA, "camera", CONTENT)),
    ):
        given = replace(event, payload=content) if event.durable else event
        hub.deliver(given, 1 if event.durable else None)
        assert await talker.hear_binary() == form
        assert (await plain.hear())["data"]["payload"] == {"base64": json.loads(bytes(content))}
    hub.deliver(published(to="chat.a"), 2)
    assert (await talker.hear())["data"]["payload"] == "hello"
    await plain.wire.end()


async def test_binary_holds_for_what_was_subscribed_before(hub: Hub, talker: Talker) -> None:
    await talker.subscribe("streams.*", "chat.a")
    talker.send("Subscribe", {"topics": ["chat.a"], "binary": True})
    assert (await talker.hear())["data"]["details"]["active_subscriptions"] == 2
    hub.deliver(stream_chunk(content=CONTENT))
    assert await talker.hear_binary() == (Kind.STREAM_DATA, "camera", CONTENT)
    # And it stays, whatever is subscribed after.
    await talker.subscribe("chat.b")
    hub.deliver(stream_chunk(content=CONTENT))
    assert await talker.hear_binary() == (Kind.STREAM_DATA, "camera", CONTENT)
    await turns()
    assert talker.has_heard_all


async def test_a_direct_message_names_its_sender(hub: Hub) -> None:
    bea = await connected(hub, speaker("bea"))
    own = f"users.{speaker('bea').user_id}"
    bea.send("Subscribe", {"topics": [own], "binary": True})
    await bea.hear()
    event = replace(direct_message(to="bea"), payload=payload_of_content(b"psst"), is_binary=True)
    hub.deliver(event, 1)
    assert await bea.hear_binary() == (Kind.DIRECT_MESSAGE, "ana", b"psst")
    await bea.wire.end()


# --- Files -----------------------------------------------------------------------------------

ask_database = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ana(settings: Settings) -> Principal:
    settings.STORAGES = {**settings.STORAGES}
    return speaker()


async def keep(who: Principal) -> None:
    """Give somebody an account."""
    given = {"id": who.user_id, "username": who.username, "role_id": "ROLE_MEMBER"}
    await call(User.objects.create, **given)


@ask_database
async def test_a_file_lands_in_the_sender_s_private_area(ana: Principal, talker: Talker) -> None:
    await keep(ana)
    for content in (b"first", CONTENT):
        talker.send_binary(3, "scan.bin", content)
        assert await talker.received() == {
            "size": len(content),
            "type": "file_transfer",
            "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "name": "scan.bin",
        }
    area = files.area_of_user(ana.user_id)
    assert await call(files.read_file, area, "scan.bin") == CONTENT


@ask_database
@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "..", "CON", "a\x00b", ".ssh", "%2e%2e%2fx"]
)
async def test_a_name_with_a_path_is_refused(ana: Principal, talker: Talker, name: str) -> None:
    talker.send_binary(3, name)
    refusal = await talker.refusal()
    assert (refusal["code"], refusal["details"]["field"]) == (400, "address")
    assert await still_talks(talker)


@ask_database
async def test_what_does_not_fit_is_told_with_limit_and_use(
    ana: Principal, talker: Talker, settings: Settings
) -> None:
    await keep(ana)
    settings.FILE_BYTES, settings.FILE_AREA_BYTES = 300, 500
    talker.send_binary(3, "a")
    await talker.received()
    talker.send_binary(3, "b")
    refusal = await talker.refusal()
    assert refusal["code"] == 413
    assert (refusal["details"]["limit"], refusal["details"]["used"]) == (500, 256)
    talker.send_binary(3, "b", bytes(301))
    assert (await talker.refusal())["details"]["limit"] == 300


@ask_database
async def test_a_database_that_is_away_is_told(
    ana: Principal, talker: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **options: Any) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(files, "save_file", away)
    talker.send_binary(3, "a")
    refusal = await talker.refusal()
    assert (refusal["code"], "try again later" in refusal["message"]) == (503, True)
    assert await still_talks(talker)
