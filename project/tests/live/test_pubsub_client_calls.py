"""Every call of our clients against a running server, from Python and from a page."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page

from project.tests.live.server import Server
from project.tests.live.surgeons import new_surgeon
from project.tests.live.test_pubsub_clients import Issued
from realtime.client.pubsub import BinaryMessage, MessageBatcher, RealtimeClient, bytes_of

pytest_plugins = ["project.tests.live.browser"]

CONTENT = b"\x00\x01binary\xff"
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
SECONDS = 20.0

Talk = Callable[[RealtimeClient, RealtimeClient, str], Awaitable[None]]


def talk(server: Server, conversation: Talk, **options: Any) -> None:
    """Let two clients of new members talk, the second one with these options, on a new topic."""
    users = [new_surgeon("ROLE_MEMBER") for _ in range(2)]
    one, other = (Issued(server.token_for(user)) for user in users)

    async def converse() -> None:
        async with (
            asyncio.timeout(SECONDS),
            RealtimeClient(server.url, one) as speaker,
            RealtimeClient(server.url, other, **options) as hearer,
        ):
            hearer.username = users[1]  # type: ignore[attr-defined]
            await conversation(speaker, hearer, f"chat.{uuid4().hex}")

    asyncio.run(converse())


class Heard:
    """What comes of one type, to be waited for."""

    def __init__(self, client: RealtimeClient, kind: str) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        client.on(kind, self._queue.put_nowait)

    async def next(self) -> Any:
        return await self._queue.get()


# --- Python ------------------------------------------------------------------------------------


def test_history_answers_what_was_said(server: Server) -> None:
    async def converse(speaker: RealtimeClient, hearer: RealtimeClient, topic: str) -> None:
        acks = [await speaker.publish(topic, n) for n in range(3)]
        answer = await hearer.history(topic, after=acks[0]["position"])
        assert [message["data"]["payload"] for message in answer["messages"]] == [1, 2]
        assert answer["complete"] is True

    talk(server, converse)


def test_a_batch_is_answered_one_by_one(server: Server) -> None:
    async def converse(speaker: RealtimeClient, hearer: RealtimeClient, topic: str) -> None:
        batcher = MessageBatcher(speaker, 5)
        acks = await asyncio.gather(*(batcher.publish(topic, n) for n in range(10)))
        assert [ack["status"] for ack in acks] == ["delivered"] * 10
        answer = await hearer.history(topic)
        assert [message["data"]["payload"] for message in answer["messages"]] == list(range(10))

    talk(server, converse)


def test_a_handler_of_the_server_s_is_asked(server: Server) -> None:
    async def converse(speaker: RealtimeClient, hearer: RealtimeClient, topic: str) -> None:
        answer = await hearer.ask("X-WhoAmI")
        assert answer["username"] == hearer.username  # type: ignore[attr-defined]
        assert answer["connection_id"] == hearer.connection_id

    talk(server, converse)


def test_presence_is_seen_with_what_its_client_tells(server: Server) -> None:
    async def converse(speaker: RealtimeClient, hearer: RealtimeClient, topic: str) -> None:
        await speaker.subscribe(["presence.*"])
        seen = Heard(speaker, "Presence")
        username = hearer.username  # type: ignore[attr-defined]
        hearer.set_presence("away")
        while (told := await seen.next())["user_id"] != username or told["status"] != "away":
            pass
        assert told["metadata"] == {"device": "test"}

    talk(server, converse, presence={"device": "test"})


def test_binary_messages_come_as_base64_once_each(server: Server) -> None:
    async def converse(speaker: RealtimeClient, hearer: RealtimeClient, topic: str) -> None:
        await hearer.subscribe([topic, "streams.*"])
        broadcasts, direct = Heard(hearer, "Broadcast"), Heard(hearer, "DirectMessage")
        details = await speaker.send_binary("broadcast", topic, CONTENT)
        assert (details["size"], details["checksum"]) == (len(CONTENT), CHECKSUM)
        assert bytes_of((await broadcasts.next())["payload"]) == CONTENT
        await speaker.send_binary("stream_data", "ecg", CONTENT)
        assert bytes_of((await broadcasts.next())["payload"]) == CONTENT
        await speaker.send_binary("direct_message", hearer.username, CONTENT)  # type: ignore[attr-defined]
        assert bytes_of((await direct.next())["payload"]) == CONTENT
        stored = await speaker.send_binary("file_transfer", "scan.bin", CONTENT)
        assert (stored["type"], stored["checksum"]) == ("file_transfer", CHECKSUM)

    talk(server, converse)


def test_binary_messages_come_as_frames_to_who_asks_for_them(server: Server) -> None:
    async def converse(speaker: RealtimeClient, hearer: RealtimeClient, topic: str) -> None:
        await hearer.subscribe([topic])
        heard = Heard(hearer, "Binary")
        await speaker.send_binary("broadcast", topic, CONTENT)
        assert await heard.next() == BinaryMessage("broadcast", topic, CONTENT)

    talk(server, converse, binary=True)


# --- A page --------------------------------------------------------------------------------------

IN_PAGE = """
    async ([url, tokens, user, topic]) => {
        const module = await import("/static/realtime/client.js");
        const { MessageBatcher, RealtimeClient, bytesOf } = module;
        const open = (token, options) => new RealtimeClient({ url, token, ...options });
        const speaker = open(tokens[0]);
        const hearer = open(tokens[1], { presence: { device: "page" } });
        const framed = open(tokens[1], { binary: true });
        const heard = { Broadcast: [], DirectMessage: [], Binary: [], Presence: [] };
        const listen = (client, type) => client.on(type, (data) => heard[type].push(data));
        ["Broadcast", "DirectMessage"].forEach((type) => listen(hearer, type));
        listen(framed, "Binary");
        listen(speaker, "Presence");
        const deadline = performance.now() + 20_000;
        const until = async (holds) => {
            while (!holds()) {
                if (performance.now() > deadline) throw new Error(JSON.stringify(heard));
                await new Promise((resolve) => { setTimeout(resolve, 10); });
            }
        };
        [speaker, hearer, framed].forEach((client) => client.connect());
        await speaker.subscribe(["presence.*"]);
        await hearer.subscribe([topic]);
        await framed.subscribe([topic]);
        hearer.setPresence("away");

        const batcher = new MessageBatcher(speaker, 3);
        const acks = await Promise.all([0, 1, 2].map((n) => batcher.publish(topic, n)));
        const { messages, complete } = await speaker.history(topic);
        const content = new Uint8Array([0, 1, 255]);
        const details = await speaker.sendBinary("broadcast", topic, content);
        await speaker.sendBinary("direct_message", user, content);
        const who = await speaker.ask("X-WhoAmI");
        await until(() => heard.DirectMessage.length && heard.Binary.length);
        await until(() => heard.Broadcast.length > 3);
        await until(() => heard.Presence.some((each) => each.user_id === user));
        const answer = {
            acks: acks.map(({ status }) => status),
            history: messages.map(({ data }) => data.payload),
            complete,
            heard: heard.Broadcast.slice(0, 3).map(({ payload }) => payload),
            binary: [...bytesOf(heard.Broadcast[3].payload)],
            direct: [...bytesOf(heard.DirectMessage[0].payload)],
            framed: [heard.Binary[0].type, heard.Binary[0].address, ...heard.Binary[0].content],
            size: details.size,
            who: who.connection_id === speaker.connectionId,
        };
        [speaker, hearer, framed].forEach((client) => client.close());
        return answer;
    }
"""


@pytest.fixture
def page(browser: Browser, pages: Server) -> Page:
    page = browser.new_page()
    page.goto(pages.url)
    return page


@pytest.mark.browser
def test_a_page_does_all_of_it(page: Page, pages: Server) -> None:
    users = [new_surgeon("ROLE_MEMBER") for _ in range(2)]
    topic = f"chat.{uuid4().hex}"
    tokens = [pages.token_for(user) for user in users]
    answer = page.evaluate(IN_PAGE, [pages.ws_url("/ws/pubsub"), tokens, users[1], topic])
    page.close()
    assert answer == {
        "acks": ["delivered"] * 3,
        "history": [0, 1, 2],
        "complete": True,
        "heard": [0, 1, 2],
        "binary": [0, 1, 255],
        "direct": [0, 1, 255],
        "framed": ["broadcast", topic, 0, 1, 255],
        "size": 3,
        "who": True,
    }
