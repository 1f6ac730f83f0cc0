"""The TypeScript client that the pubsub document prints, its types stripped, in a Chromium."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page

from project.tests.live import documents
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, new_surgeon
from realtime.tests.node import without_types

pytest_plugins = ["project.tests.live.browser"]
pytestmark = pytest.mark.browser

# Every test's page is fresh: the class counts its message ids from 1 on each of them.
Open = Callable[..., Page]

# What the document's usage example does, with the pieces that it prints to the console kept.
AROUND = """
    window.connect = async (url, token) => {
        window.client = new RealtimeProtocolClient(url, token);
        window.heard = {Broadcast: [], DirectMessage: [], Status: [], Error: []};
        for (const type of Object.keys(heard)) {
            client.on(type, (data) => heard[type].push(data));
        }
        await client.connect();
    };
"""


@pytest.fixture(scope="module")
def script() -> str:
    """Return all that is printed, without its types; the class made global."""
    source = documents.typescript_of(documents.read(documents.PUBSUB), "Basic TypeScript Client")
    printed = without_types(source)
    shared = "window.RealtimeProtocolClient = RealtimeProtocolClient;"
    return f"(() => {{ {printed}\n{shared}\n{AROUND} }})()"


@pytest.fixture
def open_page(browser: Browser, server: Server, script: str) -> Iterator[Open]:
    """Return a function that opens a page with a client of a new account, connected."""
    pages = []

    def open_as(username: str) -> Page:
        page = browser.new_page()
        pages.append(page)
        page.goto(f"{server.url}/healthz")
        page.evaluate(script)
        url, token = server.ws_url("/ws"), server.token_for(username)
        page.evaluate("([url, token]) => connect(url, token)", [url, token])
        return page

    yield open_as
    for page in pages:
        page.close()


def see(page: Page, expression: str) -> Any:
    """Return what a browser expression is once it is true."""
    return eventually(lambda: page.evaluate(expression))


@pytest.mark.parametrize("time", ["first", "second"])
def test_the_typescript_client_does_all_its_document_shows_on_every_fresh_page(
    open_page: Open, time: str
) -> None:
    # The same user and the same topic both times: the ids of the second page repeat the first's.
    page = open_page("guest")
    welcome = see(page, "heard.Status[0]")
    assert welcome["status"] == "connected"
    assert {"broadcast", "direct_message"} <= set(welcome["details"]["features"])

    subscribed = page.evaluate("client.subscribe(['chat.general', 'notifications'])")
    assert (subscribed["message_id"], subscribed["status"]) == ("msg_1", "subscribed")
    said = {"message": f"Hello from TypeScript client! The {time} time.", "id": uuid4().hex}
    ack = page.evaluate("(payload) => client.broadcast('chat.general', payload)", said)
    assert (ack["message_id"], ack["status"]) == ("msg_2", "delivered")
    assert ack["recipients"] >= 1

    delivery = see(page, "heard.Broadcast.at(-1)")
    assert (delivery["topic"], delivery["payload"]) == ("chat.general", said)
    assert delivery["metadata"]["message_id"]
    assert delivery["metadata"]["sent_at"]
    assert page.evaluate("heard.Broadcast.length") == 1
    assert page.evaluate("heard.Error") == []
    page.evaluate("client.disconnect()")


def test_a_direct_message_reaches_another_page_and_is_acknowledged(open_page: Open) -> None:
    sender, receiver = new_surgeon("ROLE_MEMBER"), new_surgeon("ROLE_MEMBER")
    one, other = open_page(sender), open_page(receiver)
    connection = see(other, "heard.Status[0]")["details"]["connection_id"]
    ack = one.evaluate(
        "(user) => client.sendDirectMessage(user, {message: 'Private message', attachments: []})",
        receiver,
    )
    assert (ack["message_id"], ack["status"]) == ("msg_1", "delivered")
    assert ack["delivered_to"] == [connection]
    told = see(other, "heard.DirectMessage[0]")
    assert told["from_user"] == sender
    assert told["payload"] == {"message": "Private message", "attachments": []}
    assert told["metadata"]["message_id"]


def test_a_broadcast_reaches_everybody_on_the_topic(open_page: Open) -> None:
    topic = f"chat.{uuid4().hex}"
    pages = [open_page(new_surgeon("ROLE_MEMBER")) for _ in range(3)]
    for page in pages[1:]:
        page.evaluate("(topic) => client.subscribe([topic])", topic)
    ack = pages[0].evaluate("(topic) => client.broadcast(topic, {n: 1})", topic)
    assert ack["recipients"] == 2
    for page in pages[1:]:
        assert see(page, "heard.Broadcast[0]")["payload"] == {"n": 1}


def test_a_message_to_nobody_is_answered_by_the_documents_error(open_page: Open) -> None:
    page, absent = open_page(new_surgeon("ROLE_MEMBER")), new_surgeon("ROLE_MEMBER")
    # The class waits 30 seconds for an Ack that does not come: it is not waited for here.
    page.evaluate("(user) => { client.sendDirectMessage(user, {n: 1}); }", absent)
    error = see(page, "heard.Error[0]")
    assert error["code"] == 404
    assert error["details"]["message_id"] == "msg_1"
    assert error["details"]["queued"] is True
