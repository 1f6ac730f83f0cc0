"""In which order a page is written, and how far its reader has had everything."""

import random

import pytest

from realtime.core.events.messages import Priority
from realtime.core.pages import Due, Page
from realtime.tests.message_events import published


def due(*given: tuple[int, str, Priority]) -> list[Due]:
    return [(n, published(str(n), f"chat.{topic}", priority=rank)) for n, topic, rank in given]


def order_of(page: Page) -> list[int]:
    return [n for n, _ in page.order]


def test_without_overtaking_the_order_is_that_of_the_journal() -> None:
    page = Page(due((1, "a", "low"), (2, "b", "high")), upto=5, overtakes=False)
    assert order_of(page) == [1, 2]
    assert page.had_upto == 0


def test_high_comes_before_normal_before_low() -> None:
    page = Page(due((2, "a", "low"), (4, "b", "normal"), (6, "c", "high")), upto=9, overtakes=True)
    assert order_of(page) == [6, 4, 2]


def test_within_a_topic_the_order_stays_and_a_high_one_pulls_those_before_it_along() -> None:
    given = due((1, "b", "normal"), (2, "a", "low"), (3, "a", "high"), (4, "a", "low"))
    assert order_of(Page(given, upto=4, overtakes=True)) == [2, 3, 1, 4]


def test_what_was_had_ends_before_the_first_that_was_not_written() -> None:
    page = Page(due((2, "a", "low"), (4, "b", "normal"), (6, "c", "high")), upto=9, overtakes=True)
    told = []
    for n, _ in page.order:
        told.append((page.is_next(n), page.had_upto))
        page.note(n)
    assert told == [(False, 1), (False, 1), (True, 1)]
    assert page.had_upto == 9


def test_an_empty_page_was_had_whole() -> None:
    assert Page([], upto=7, overtakes=True).had_upto == 7


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_priorities_topics_keep_their_order_and_what_was_had_is_true(
    seed: int,
) -> None:
    dice = random.Random(seed)
    ranks: list[Priority] = ["low", "normal", "high"]
    given = due(*((n, dice.choice("abc"), dice.choice(ranks)) for n in range(1, 40)))
    page = Page(given, upto=39, overtakes=True)
    written: list[int] = []
    for n, _ in page.order:
        assert page.is_next(n) == (set(written) >= set(range(1, n)))
        written.append(n)
        page.note(n)
        assert set(written) >= set(range(1, page.had_upto + 1))
    assert sorted(written) == list(range(1, 40))
    for topic in "abc":
        of_topic = [n for n, event in page.order if event.topic == f"chat.{topic}"]
        assert of_topic == sorted(of_topic)
