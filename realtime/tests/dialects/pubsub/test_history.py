"""`History`: what was said on a topic, with the real journal behind it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction
from msgspec.structs import replace

from realtime import journal
from realtime.calls import call
from realtime.core.events import Event
from realtime.dialects.pubsub import history as module
from realtime.hub import Hub
from realtime.models import JournalEntry
from realtime.tests.dialects.pubsub.talk import Talk, talk_to
from realtime.tests.doubles import completed, principal, surgeon
from realtime.tests.message_events import direct_message, published

pytestmark = pytest.mark.django_db(transaction=True)

HEARS = ("chat.**", "telemetry.**")


@pytest.fixture
async def talk(hub: Hub) -> AsyncIterator[Talk]:
    talk = await talk_to(hub, principal("olga", subscribe=HEARS))
    yield talk
    await talk.wire.end()


def append(*events: Event) -> None:
    with transaction.atomic():
        for event in events:
            journal.append(event)


async def happen(*events: Event) -> None:
    await call(append, *events)


async def ask(talk: Talk, topic: str = "chat.general", **wanted: Any) -> tuple[list[str], bool]:
    """Return the ids that are answered, and whether that is all."""
    talk.send("History", {"topic": topic, **wanted})
    data = await talk.hear_data("History")
    assert data["topic"] == topic
    ids = [message["data"]["metadata"]["message_id"] for message in data["messages"]]
    return ids, data["complete"]


async def refusal(talk: Talk, **data: Any) -> dict[str, Any]:
    talk.send("History", data)
    return await talk.hear_data("Error")


async def test_the_latest_come_as_they_were_delivered_the_earliest_first(talk: Talk) -> None:
    await happen(*(published(f"m{n}") for n in range(1, 4)), published("x", "chat.x"))
    talk.send("History", {"topic": "chat.general", "limit": 2}, id="h1")
    data = await talk.hear_data("History")
    assert (data["complete"], data["next"], data["message_id"]) == (False, "e-2", "h1")
    assert [message["data"]["metadata"]["position"] for message in data["messages"]] == [
        "e-2",
        "e-3",
    ]
    assert data["messages"][0]["type"] == "Broadcast"
    assert data["messages"][0]["data"]["payload"] == "hello"
    assert await talk.hear_data("Ack") == {"message_id": "h1", "status": "history"}


async def test_a_topic_is_read_backwards_and_forwards(talk: Talk) -> None:
    await happen(*(published(f"m{n}") for n in range(1, 8)))
    assert await ask(talk, before="e-6", limit=2) == (["m4", "m5"], False)
    assert await ask(talk, before="e-4", limit=3) == (["m1", "m2", "m3"], True)
    assert await ask(talk, after="e-2", limit=2) == (["m3", "m4"], False)
    assert await ask(talk, after="e-5") == (["m6", "m7"], True)
    assert await ask(talk, after="e-2", before="e-5") == (["m3", "m4"], True)
    assert await ask(talk, after="e-7") == ([], True)


async def test_what_the_journal_does_not_reach_back_to_is_not_complete(talk: Talk) -> None:
    await happen(*(published(f"m{n}") for n in range(1, 5)))
    await call(JournalEntry.objects.filter(position__lte=2).delete)
    assert await ask(talk, after="e-1") == (["m3", "m4"], False)
    assert await ask(talk, after="e-2") == (["m3", "m4"], True)


async def test_bounds_may_be_times_in_milliseconds_or_seconds(talk: Talk) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    events = [published(f"m{n}") for n in range(4)]
    await happen(*(replace(event, at=now + timedelta(seconds=n)) for n, event in enumerate(events)))
    moment = int((now + timedelta(seconds=2)).timestamp())
    for given in (moment, moment * 1000, float(moment)):
        assert await ask(talk, after=given) == (["m2", "m3"], True)
        assert await ask(talk, before=given) == (["m0", "m1"], True)


async def test_what_has_expired_is_not_told(talk: Talk, hub: Hub) -> None:
    await happen(published("short", expires_at=hub.now()), published("m"))
    assert await ask(talk) == (["m"], True)


async def test_live_topics_have_none(talk: Talk) -> None:
    assert await ask(talk, "telemetry.1") == ([], True)


async def test_the_own_private_topic_has_a_history_by_name(talk: Talk) -> None:
    await happen(direct_message("to her", "olga"), direct_message("to another", "bea"))
    assert await ask(talk, "users.olga") == (["to her"], True)


async def test_only_the_own_is_told_where_the_role_hears_only_that(hub: Hub) -> None:
    talk = await talk_to(hub, surgeon("ana"))
    await happen(
        completed("hers", surgeon="ana"),
        *(completed(f"another's {n}", surgeon="bea") for n in range(7)),
        completed("hers too", surgeon="ana"),
    )
    assert await ask(talk, "surgeries.completed", limit=1) == (["hers too"], False)
    assert await ask(talk, "surgeries.completed", limit=2) == (["hers", "hers too"], True)
    await talk.wire.end()


@pytest.mark.parametrize("topic", ["users.bea", "alerts.1", "control.access"])
async def test_what_may_not_be_heard_has_no_history_either(talk: Talk, topic: str) -> None:
    answer = await refusal(talk, topic=topic)
    assert (answer["code"], answer["details"]) == (403, {"topic": topic})


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({}, "data.topic"),
        ({"topic": 5}, "data.topic"),
        ({"topic": ""}, "data.topic"),
        ({"topic": "chat.*"}, "data.topic"),
        ({"topic": "chat..a"}, "data.topic"),
        ({"topic": "c" * 10_000}, "data.topic"),
        ({"topic": "chat.a", "limit": 0}, "data.limit"),
        ({"topic": "chat.a", "limit": 501}, "data.limit"),
        ({"topic": "chat.a", "limit": "5"}, "data.limit"),
        ({"topic": "chat.a", "before": "yesterday"}, "data.before"),
        ({"topic": "chat.a", "after": "f-1"}, "data.after"),
        ({"topic": "chat.a", "after": []}, "data.after"),
        ({"topic": "chat.a", "after": 1e300}, "data.after"),
    ],
)
async def test_what_is_wrong_is_named(talk: Talk, wanted: dict[str, Any], field: str) -> None:
    answer = await refusal(talk, **wanted)
    assert (answer["code"], answer["details"]["field"]) == (400, field)


async def test_an_answer_is_bounded_in_bytes(talk: Talk) -> None:
    await happen(*(published(f"m{n}", payload="x" * 100_000) for n in range(5)))
    assert await ask(talk) == (["m2", "m3", "m4"], False)
    assert await ask(talk, before="e-3") == (["m0", "m1"], True)


async def test_a_database_that_is_away_is_503(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(module, "find", fail)
    assert (await refusal(talk, topic="chat.a"))["code"] == 503
