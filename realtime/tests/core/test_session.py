"""What somebody may say, and to whom."""

import pytest

from realtime.core.topics import RESERVED
from realtime.tests.doubles import principal


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
