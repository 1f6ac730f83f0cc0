"""Who is present anywhere, as the journal tells."""

from typing import Any

from realtime.core.events import PresenceChanged, presence_topic
from realtime.presence import Roster
from realtime.tests.doubles import NOW, completed, user_id_of


def changed(username: str, status: Any = "online") -> PresenceChanged:
    return PresenceChanged(
        id=f"{username} {status}",
        at=NOW,
        username=username,
        user_id=user_id_of(username),
        status=status,
        last_seen=NOW,
    )


def names(roster: Roster) -> list[str]:
    return [each.username for each in roster.everybody()]


def test_it_holds_who_is_not_offline() -> None:
    roster = Roster()
    for event in (changed("ana"), changed("bea", "away"), completed(), changed("ana", "offline")):
        roster.on_event(event)
    assert names(roster) == ["bea"]
    assert roster.of(presence_topic("ana")) is None
    bea = roster.of(presence_topic("bea"))
    assert bea is not None
    assert bea.status == "away"


def test_who_changed_last_comes_last() -> None:
    roster = Roster()
    for event in (changed("ana"), changed("bea"), changed("ana", "away")):
        roster.on_event(event)
    assert names(roster) == ["bea", "ana"]


def test_it_begins_anew_with_what_was_stored() -> None:
    roster = Roster()
    roster.on_event(changed("ana"))
    roster.fill([changed("cleo")])
    assert names(roster) == ["cleo"]
    assert len(roster) == 1
