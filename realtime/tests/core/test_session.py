"""What a principal may hear and say."""

import pytest
from msgspec.structs import replace

from realtime.core.session import Principal
from realtime.core.topics import RESERVED
from realtime.tests.doubles import principal
from realtime.tests.message_events import stream_chunk


def who(*subscribe: str, publish: tuple[str, ...] = ("chat.**",)) -> Principal:
    return replace(principal(subscribe=subscribe), publish=publish)


def test_whoever_hears_all_of_chat_hears_streams_and_may_send_to_them() -> None:
    somebody = who("chat.**")
    assert somebody.scope.admits(stream_chunk())
    assert somebody.may_stream
    assert somebody.may_publish("streams.camera")


@pytest.mark.parametrize("pattern", ["chat.*", "chat.general", "updates.**", "own:chat.**"])
def test_who_hears_only_some_of_chat_has_no_part_in_streams(pattern: str) -> None:
    somebody = who(pattern)
    assert not somebody.scope.admits(stream_chunk())
    assert not somebody.may_stream
    assert not somebody.may_publish("streams.camera")


def test_who_only_reads_hears_streams_and_sends_nothing() -> None:
    viewer = who("chat.**", publish=())
    assert viewer.scope.admits(stream_chunk())
    assert not viewer.may_stream
    assert not viewer.may_message


def test_a_right_to_streams_that_the_role_names_is_kept_once() -> None:
    assert who("chat.**", "streams.**").scope.anyone.count("streams.**") == 1


@pytest.mark.parametrize("topic", ["alerts.1", "users.x", "control.x", "presence.x", "surgeries.y"])
def test_nobody_says_what_the_system_itself_says(topic: str) -> None:
    assert not who("chat.**", publish=(topic,)).may_publish(topic)


def test_a_role_says_what_its_patterns_allow() -> None:
    who = principal(publish=("chat.**", "updates.broadcast"))
    assert who.may_publish("chat.general")
    assert who.may_publish("chat")
    assert who.may_publish("updates.broadcast")
    assert not who.may_publish("updates.other")


@pytest.mark.parametrize("root", sorted(RESERVED))
def test_where_the_system_speaks_nobody_else_does(root: str) -> None:
    who = principal(publish=(f"{root}.**",))
    assert not who.may_publish(root)
    assert not who.may_publish(f"{root}.1")


def test_who_may_say_nothing_writes_to_nobody() -> None:
    assert not principal(publish=()).may_message
    assert principal(publish=("chat.**",)).may_message
