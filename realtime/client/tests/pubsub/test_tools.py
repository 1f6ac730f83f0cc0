"""Batching, the pool, the monitor, the debugger; and what they stand on."""

import asyncio
import logging
from typing import Any

import pytest

from realtime.client.errors import Stopped, TooLarge
from realtime.client.pubsub import (
    ConnectionDebugger,
    ConnectionMonitor,
    ConnectionPool,
    MessageBatcher,
    bytes_of,
)
from realtime.client.pubsub.pace import Pace
from realtime.client.pubsub.progress import Progress, Seen
from realtime.client.tests.doubles import Time
from realtime.client.tests.pubsub.service import service


async def test_ten_messages_leave_as_one_and_each_is_answered_for_itself() -> None:
    async with service() as server, server.client() as client:
        batcher = MessageBatcher(client, batch_timeout=0.0)
        answers = [batcher.publish("a", n) for n in range(13)]
        acks = await asyncio.gather(*answers)
        batches = (await server.until_opened()).of("Batch")
    assert [len(batch["data"]["messages"]) for batch in batches] == [10, 3]
    ids = [message["id"] for batch in batches for message in batch["data"]["messages"]]
    assert [ack["message_id"] for ack in acks] == ids


async def test_a_batch_that_was_not_answered_goes_again_with_the_same_ids() -> None:
    async with service() as server, server.client() as client:
        server.acknowledges = False
        batcher = MessageBatcher(client, 2)
        answers = [batcher.publish("a", n) for n in range(2)]
        first = await server.until_opened()
        sent = await first.until("Batch")
        server.acknowledges = True
        first.cut()
        await asyncio.gather(*answers)
        assert (await server.until_opened(2)).of("Batch") == sent


async def test_a_batch_is_never_larger_than_a_message_may_be() -> None:
    async with service() as server, server.client(message_bytes=1_000) as client:
        batcher = MessageBatcher(client, 3)
        await asyncio.gather(*(batcher.publish("a", "x" * 380) for _ in range(3)))
        heard = (await server.until_opened()).heard
        assert [message["type"] for message in heard] == ["Batch", "Broadcast"]
        with pytest.raises(TooLarge):
            await asyncio.gather(*(batcher.publish("a", "x" * 1_000) for _ in range(3)))


async def test_what_a_batch_still_waits_for_is_told_when_it_ends() -> None:
    async with service() as server:
        server.acknowledges = False
        async with server.client() as client:
            answer = MessageBatcher(client, 1).publish("a", 1)
            await (await server.until_opened()).until("Broadcast")
        with pytest.raises(Stopped):
            await answer


async def test_a_pool_opens_a_few_connections_and_takes_them_in_turn() -> None:
    async with service() as server:

        def open_client() -> Any:
            client = server.client()
            client.start()
            return client

        pool = ConnectionPool(open_client, 2)
        await asyncio.gather(*(pool.publish("a", n) for n in range(4)))
        counts = [len(connection.of("Broadcast")) for connection in server.connections]
        assert counts == [2, 2]
        await pool.close()
    assert pool.connections == []


async def test_the_monitor_counts_both_ways_and_keeps_its_counts() -> None:
    time = Time()
    async with service() as server:
        client = server.client()
        monitor = ConnectionMonitor(clock=time)
        monitor.add_connection("one", client)
        async with client:
            await client.publish("a", 1)
            time.now = 4.0
            monitor.remove_connection("one")
            await client.publish("a", 2)
    stats = monitor.get_stats()
    assert (stats["messages_received"], stats["messages_sent"]) == (2, 1)
    assert (stats["total_connections"], stats["active_connections"]) == (1, 0)
    assert stats["average_connection_duration"] == 4.0
    assert stats["messages_per_connection"] == 3


async def test_the_debugger_says_what_its_level_says_and_no_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "vitalwire.client.debugger")
    async with service() as server:
        client = server.client()
        debugger = ConnectionDebugger(client)
        async with client:
            await client.publish("a", 1)
            debugger.set_log_level("debug")
            await client.publish("a", 2)
            debugger.disable()
            await client.publish("a", 3)
    told = [record.message for record in caplog.records if record.name.endswith("debugger")]
    assert told[0] == "connecting Connecting…"
    assert sum(message.startswith("sent Broadcast") for message in told) == 1
    assert "token" not in "".join(told)


def test_only_the_last_ids_are_remembered() -> None:
    seen = Seen(2)
    assert [seen.add(name) for name in "abaca"] == [True, True, False, True, True]


def test_a_position_never_goes_back_and_another_epoch_is_taken_over() -> None:
    progress = Progress("e-9")
    told = [{"position": position} for position in ("e-10", "e-9", "f-1")]
    reached = [progress.take(metadata) and progress.position for metadata in told]
    assert reached == ["e-10", "e-10", "f-1"]


def test_what_is_not_stored_moves_nothing() -> None:
    progress = Progress("e-1")
    assert progress.take({"message_id": "m"})
    assert progress.take({"message_id": "m"})
    assert progress.position == "e-1"


def test_before_the_first_confirmation_there_is_no_position() -> None:
    progress = Progress()
    assert progress.take({"message_id": "m", "position": "e-3"})
    assert progress.position is None
    progress.anchor("e-8")
    assert not progress.take({"message_id": "m", "position": "e-3"})
    assert progress.position == "e-8"


def test_a_pace_allows_half_a_seconds_worth_at_once_and_then_less_than_the_limit() -> None:
    time = Time()
    pace = Pace(100, clock=time)
    pace.count(50)
    assert pace.wait() == pytest.approx(1 / 90)
    time.now += 1
    assert pace.wait() == 0
    pace.pause(3)
    assert pace.wait() == 3
    pace.tell(0)
    time.now += 3
    pace.count(1_000)
    assert pace.wait() == 0


def test_bytes_come_of_a_payload_in_base64() -> None:
    assert bytes_of({"base64": "AQI="}) == b"\x01\x02"
