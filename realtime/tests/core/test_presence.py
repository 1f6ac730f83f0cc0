"""What many voices say of one user, as one."""

from datetime import timedelta
from typing import Any

import pytest

from realtime.core.errors import Invalid
from realtime.core.presence import (
    METADATA_BYTES,
    SILENCE,
    Voice,
    check_metadata,
    read_metadata,
    together,
)
from realtime.tests.doubles import NOW

LATER = NOW + timedelta(seconds=1)


def test_nobody_says_anything_of_who_is_offline() -> None:
    assert together([]) == SILENCE
    assert together([Voice("offline", {"device": "web"}, NOW)]) == SILENCE


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["online"], "online"),
        (["away", "online", "offline"], "online"),
        (["away", "offline"], "away"),
        (["offline", "offline"], "offline"),
    ],
)
def test_the_most_present_connection_decides(statuses: list[Any], expected: str) -> None:
    assert together(Voice(status) for status in statuses).status == expected


def test_the_metadata_given_last_counts_whoever_gave_it() -> None:
    voices = [
        Voice("away", {"device": "phone"}, LATER),
        Voice("online", {"device": "web"}, NOW),
        Voice("online"),
    ]
    assert together(voices) == Voice("online", {"device": "phone"}, LATER)


def test_metadata_that_is_given_empty_takes_back_what_was_given() -> None:
    assert together([Voice("online", {"a": 1}, NOW), Voice("online", {}, LATER)]).metadata == {}


def test_metadata_has_a_kibibyte() -> None:
    room = METADATA_BYTES - len('{"a":""}')
    assert check_metadata({"a": "x" * room}, field="metadata")
    with pytest.raises(Invalid, match="at most 1024 bytes") as refusal:
        check_metadata({"a": "x" * (room + 1)}, field="data.metadata")
    assert refusal.value.field == "data.metadata"


@pytest.mark.parametrize("text", ["", "[]", "1", "{", '{"a": NaN}', "[" * 5_000])
def test_the_query_s_metadata_is_an_object(text: str) -> None:
    with pytest.raises(Invalid, match="JSON object"):
        read_metadata(text, field="metadata")


def test_the_query_s_metadata_is_read() -> None:
    assert read_metadata('{"device": "web"}', field="metadata") == {"device": "web"}
