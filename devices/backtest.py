"""What a rule would have raised on the stored readings: the live engine, over the past.

Pure: runs in a child process. Maintenance, and what people resolved by hand, are not looked at.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta

import msgspec

from devices.rules import FRESH, Decision, Rule, RuleState, Turn, absent, advance, moment_of
from devices.stored import Database, Reading, Stored

# The first ones are listed, all are counted.
ALERTS_MAX = 1_000


class Episode(msgspec.Struct, frozen=True):
    """An alert that would have been raised, and until when; None: it would still be open."""

    device_id: int
    raised_at: datetime
    value: float | None
    cleared_at: datetime | None = None

    def overlaps(self, other: "Episode") -> bool:
        """Whether both would have been open at some moment."""
        if self.device_id != other.device_id:
            return False
        return _begins_within(self, other) or _begins_within(other, self)


class Outcome(msgspec.Struct, frozen=True):
    """What became of one rule: the first alerts in order of time, and how many there were."""

    alerts: list[Episode]
    count: int
    open_time: timedelta
    readings: int


class Case(msgspec.Struct, frozen=True):
    """A rule, and the series that it watches: (device, series)."""

    rule: Rule
    series: list[tuple[int, int]]


def replay(
    rule: Rule, state: RuleState, readings: Iterable[Reading]
) -> tuple[RuleState, list[Turn]]:
    """Take readings in order; what follows them may be taken from the state returned."""
    turns: list[Turn] = []
    for at, received_at, value in readings:
        moment = received_at if rule.is_absence else moment_of(at, received_at)
        state, found = advance(rule, state, value, moment)
        turns += found
    return state, turns


def back_test(
    database: Database, cases: Sequence[Case], since: datetime, until: datetime
) -> list[Outcome]:
    """Return what each rule would have raised from `since` to `until`."""
    with closing(Stored(database)) as stored:
        return [_outcome(stored, case, since, until) for case in cases]


def _outcome(stored: Stored, case: Case, since: datetime, until: datetime) -> Outcome:
    episodes: list[Episode] = []
    count = readings = 0
    for device_id, series_id in case.series:
        counted = _Counting(stored.readings(series_id, since=since, until=until))
        found = episodes_of(case.rule, device_id, counted, since=since, until=until)
        readings += counted.count
        count += len(found)
        episodes += found
    episodes.sort(key=lambda episode: (episode.raised_at, episode.device_id))
    open_time = sum(
        ((episode.cleared_at or until) - episode.raised_at for episode in episodes), timedelta(0)
    )
    return Outcome(episodes[:ALERTS_MAX], count, open_time, readings)


def episodes_of(
    rule: Rule, device_id: int, readings: Iterable[Reading], *, since: datetime, until: datetime
) -> list[Episode]:
    """Return the alerts of one device. Nothing is known of it before `since`."""
    state = RuleState(since) if rule.is_absence else FRESH
    state, turns = replay(rule, state, readings)
    state, decision = absent(rule, state, until)
    if decision is not None:
        turns.append(Turn(decision, state.raised_at or until, None))
    episodes: list[Episode] = []
    for turn in turns:
        if turn.decision is Decision.RAISE:
            episodes.append(Episode(device_id, turn.at, turn.value))
        else:
            episodes[-1] = msgspec.structs.replace(episodes[-1], cleared_at=turn.at)
    return episodes


class _Counting:
    """Passes readings on and counts them."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = readings
        self.count = 0

    def __iter__(self) -> Iterator[Reading]:
        for reading in self._readings:
            self.count += 1
            yield reading


# --- Comparing -----------------------------------------------------------------------------


class Pair(msgspec.Struct, frozen=True):
    """One line of a comparison: an alert that both rules raise, or only one of them."""

    today: Episode | None
    changed: Episode | None


def compare(today: Sequence[Episode], changed: Sequence[Episode]) -> list[Pair]:
    """Bring together the alerts of one device that overlap in time; in order of time."""
    rest: dict[int, list[Episode]] = {}
    for episode in changed:
        rest.setdefault(episode.device_id, []).append(episode)
    pairs = []
    for episode in today:
        candidates = rest.get(episode.device_id, [])
        same = next((other for other in candidates if episode.overlaps(other)), None)
        if same is not None:
            candidates.remove(same)
        pairs.append(Pair(episode, same))
    pairs += [Pair(None, episode) for episodes in rest.values() for episode in episodes]
    return sorted(pairs, key=_began)


def _began(pair: Pair) -> tuple[datetime, int]:
    episodes = [episode for episode in (pair.today, pair.changed) if episode is not None]
    return min((episode.raised_at, episode.device_id) for episode in episodes)


def _begins_within(one: Episode, other: Episode) -> bool:
    return one.raised_at >= other.raised_at and (
        other.cleared_at is None or one.raised_at < other.cleared_at
    )
