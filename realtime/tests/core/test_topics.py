"""Topics and patterns: the grammar, and three ways of asking the same question that agree."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.errors import BadTopic
from realtime.core.topics import (
    MAX_DEPTH,
    MAX_LENGTH,
    check_pattern,
    check_topic,
    matches,
    overlaps,
    patterns_matching,
    root_of,
)

# Two letters and little depth: random patterns and topics meet often.
LETTERS = ("a", "b")
DEPTH = 4
letter = st.sampled_from(LETTERS)
topics = st.lists(letter, min_size=1, max_size=DEPTH).map(".".join)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    segments = [draw(letter), *draw(st.lists(st.sampled_from(("a", "b", "*")), max_size=DEPTH - 1))]
    return ".".join([*segments, *(["**"] if draw(st.booleans()) else [])])


ALL_TOPICS = [
    ".".join(segments)
    for depth in range(1, DEPTH + 2)
    for segments in product(LETTERS, repeat=depth)
]


def as_expression(pattern: str) -> re.Pattern[str]:
    """Say the same as the pattern in another language."""
    body = re.escape(pattern.removesuffix(".**")).replace(r"\*", "[^.]+")
    return re.compile(body + (r"(\..+)?" if pattern.endswith(".**") else ""))


@given(patterns(), topics)
def test_a_pattern_hears_what_its_regular_expression_matches(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) == bool(as_expression(pattern).fullmatch(topic))


@given(patterns(), topics)
def test_a_topic_is_found_by_exactly_the_patterns_that_hear_it(pattern: str, topic: str) -> None:
    assert (pattern in patterns_matching(topic)) == matches(pattern, topic)


@given(patterns(), patterns())
def test_patterns_overlap_exactly_when_some_topic_is_heard_by_both(one: str, other: str) -> None:
    shared = any(matches(one, topic) and matches(other, topic) for topic in ALL_TOPICS)
    assert overlaps(one, other) == shared
    assert overlaps(other, one) == shared


@given(patterns())
def test_what_the_strategy_makes_may_be_subscribed_to(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@given(topics)
def test_no_pattern_is_found_twice_and_the_topic_itself_comes_first(topic: str) -> None:
    found = patterns_matching(topic)
    assert found[0] == topic
    assert len(found) == len(set(found))


def test_the_most_specific_pattern_comes_first() -> None:
    assert patterns_matching("a.b") == ("a.b", "a.*", "a.b.**", "a.*.**", "a.**")


def test_the_deepest_topic_is_heard_by_a_bounded_number_of_patterns() -> None:
    deepest = ".".join("a" * MAX_DEPTH)
    # 2**7 of its own length, and one ending in ** for each of the 2**8 - 1 beginnings.
    assert len(patterns_matching(deepest)) == 3 * 2 ** (MAX_DEPTH - 1) - 1


def test_the_rest_may_be_nothing() -> None:
    assert matches("surgeries.**", "surgeries")
    assert "surgeries.**" in patterns_matching("surgeries")


def test_one_segment_is_neither_none_nor_two() -> None:
    assert not matches("surgeries.*", "surgeries")
    assert not matches("surgeries.*", "surgeries.a.b")


@pytest.mark.parametrize("topic", ["notifications", "chat.general", "updates.x", "chat.größe.✓"])
def test_a_topic_names_one_thing(topic: str) -> None:
    assert check_topic(topic) == topic


NO_NAMES = [
    *("", ".", "chat.", ".chat", "chat..general"),
    *("chat general", "chat\x00", "chat.\n", "chat.\ud800", "chat.\u00a0"),
    "a" * (MAX_LENGTH + 1),
    ".".join("a" * (MAX_DEPTH + 1)),
]


@pytest.mark.parametrize("topic", NO_NAMES)
def test_what_is_no_name_is_neither_topic_nor_pattern(topic: str) -> None:
    for check in (check_topic, check_pattern):
        with pytest.raises(BadTopic) as refusal:
            check(topic)
        assert refusal.value.field == "topic"


@pytest.mark.parametrize("pattern", ["chat.*", "chat.**", "a.*.c", "a.*.**"])
def test_a_wildcard_is_for_subscribing_only(pattern: str) -> None:
    assert check_pattern(pattern) == pattern
    with pytest.raises(BadTopic, match="subscribing"):
        check_topic(pattern)


@pytest.mark.parametrize("pattern", ["*", "**", "*.a", "**.a", "a*.b"])
def test_the_first_segment_is_literal(pattern: str) -> None:
    with pytest.raises(BadTopic, match="literal"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["a.**.b", "a.b*", "a.***", "a.*b.c"])
def test_a_wildcard_is_a_whole_segment_and_the_rest_stands_last(pattern: str) -> None:
    with pytest.raises(BadTopic, match="whole segment"):
        check_pattern(pattern)


def test_the_root_is_the_first_segment() -> None:
    assert root_of("surgeries.completed") == "surgeries"
    assert root_of("notifications") == "notifications"
