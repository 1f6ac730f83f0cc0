"""Alert rules without a database: state + reading → state + decision. Pure: no Django.

The live evaluation, the restoring after a restart and the back-test all go through `step` and
`absent`, so that what a back-test shows is what would have been raised.
"""

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import NamedTuple

import msgspec

from devices.clocks import SKEW

ZERO = timedelta(0)
# A rule may ask for any number of seconds; with more than this the dates would run out.
LONGEST = timedelta(days=3_650)
# Digits after the point that a message shows of what was measured; the alert keeps all.
SHOWN_DIGITS = 4


class Condition(StrEnum):
    """The values of `AlertRule.Condition`."""

    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EQ = "eq"
    NE = "ne"
    ABSENT = "absent"


class Decision(Enum):
    """What a reading, or its absence, leads to."""

    RAISE = "raise"
    CLEAR = "clear"


HOLDS: dict[Condition, Callable[[float, float], bool]] = {
    Condition.GT: operator.gt,
    Condition.GTE: operator.ge,
    Condition.LT: operator.lt,
    Condition.LTE: operator.le,
    Condition.EQ: operator.eq,
    Condition.NE: operator.ne,
}
WORDS = {
    Condition.GT: "above",
    Condition.GTE: "at or above",
    Condition.LT: "below",
    Condition.LTE: "at or below",
    Condition.EQ: "equal to",
    Condition.NE: "other than",
    Condition.ABSENT: "absent for",
}


class Rule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An active `AlertRule`, compiled.

    It is for one device, or for all of `device_type`, or for all devices when that is empty.
    While an alert is open its condition is judged by `clear_threshold`. Changed at `changed_at`:
    what was received before does not count for it.
    """

    id: int
    device_id: int | None
    device_type: str
    metric: str
    condition: Condition
    threshold: float
    clear_threshold: float
    raise_after: timedelta
    clear_after: timedelta
    cooldown: timedelta
    severity: str
    resolves_itself: bool
    changed_at: datetime

    # What `condition` means, looked up once: hashing an enum costs as much as a whole step.
    is_absence: bool = False
    holds: Callable[[float, float], bool] | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "is_absence", self.condition is Condition.ABSENT)
        msgspec.structs.force_setattr(self, "holds", HOLDS.get(self.condition))


class RuleState(msgspec.Struct, frozen=True, gc=False):
    """What a rule knows of one device, by the readings' times.

    `since` is when the opposite of `is_raised` began to hold, while it has not held for long
    enough; `raised_at` the time of the last alert, open or not.
    """

    last_at: datetime | None = None
    is_raised: bool = False
    since: datetime | None = None
    raised_at: datetime | None = None


FRESH = RuleState()
Stepped = tuple[RuleState, Decision | None]


class Turn(NamedTuple):
    """A decision, with the time and the value that led to it; None when there was no value."""

    decision: Decision
    at: datetime
    value: float | None


def span(seconds: float) -> timedelta:
    """Return a time to wait: not negative, and short enough to be added to a date."""
    if not seconds > 0:
        return ZERO
    return timedelta(seconds=min(seconds, LONGEST.total_seconds()))


def moment_of(at: datetime, received_at: datetime) -> datetime:
    """Return the time by which a value is judged: the device's, unless it lies in the future.

    Otherwise one reading of the year 2100 would make all that follow look late.
    """
    return received_at if at - received_at > SKEW else at


def step(rule: Rule, state: RuleState, value: float, at: datetime) -> Stepped:
    """Take one value. A late one, and the same one again, change nothing.

    For a rule of absence `at` is when we received it, else its `moment_of`.
    """
    if state.last_at is not None and at <= state.last_at:
        return state, None
    if rule.holds is None:
        return _hear(rule, state, at)
    if not state.is_raised:
        if rule.holds(value, rule.threshold):
            return _begin(rule, state, at)
        return RuleState(at, False, None, state.raised_at), None
    is_good = not rule.holds(value, rule.clear_threshold)
    return _wait_for_end(rule, state, at, state.since, is_good=is_good)


def absent(rule: Rule, state: RuleState, now: datetime) -> Stepped:
    """Notice that no reading has come for too long; only for rules of absence."""
    due = due_at(rule, state)
    if due is None or now < due:
        return state, None
    return RuleState(state.last_at, True, None, due), Decision.RAISE


def due_at(rule: Rule, state: RuleState) -> datetime | None:
    """Return when a rule of absence raises, if nothing comes until then."""
    if not rule.is_absence or state.is_raised or state.last_at is None:
        return None
    due = state.last_at + span(rule.threshold) + rule.raise_after
    return due if state.raised_at is None else max(due, state.raised_at + rule.cooldown)


def resolved(state: RuleState) -> RuleState:
    """Return the state after somebody resolved the alert: the waiting begins anew."""
    return RuleState(state.last_at, False, None, state.raised_at)


def raised(state: RuleState, at: datetime) -> RuleState:
    """Return the state after somebody else raised the rule's alert."""
    return RuleState(state.last_at, True, None, max(at, state.raised_at or at))


def silenced(state: RuleState, at: datetime) -> RuleState:
    """Return the state after a value of a device that shall raise nothing for now."""
    latest = at if state.last_at is None else max(at, state.last_at)
    return RuleState(latest, False, None, state.raised_at)


def advance(
    rule: Rule, state: RuleState, value: float, at: datetime
) -> tuple[RuleState, list[Turn]]:
    """Take a stored value: like `step`, after the silence before it was noticed."""
    turns = []
    state, decision = absent(rule, state, at)
    if decision is not None:
        turns.append(Turn(decision, state.raised_at or at, None))
    state, decision = step(rule, state, value, at)
    if decision is not None:
        turns.append(Turn(decision, at, value))
    return state, turns


def crosses(before: float | None, value: float, thresholds: Sequence[float]) -> bool:
    """Tell whether a threshold lies between two values, or one of them exactly on it.

    `thresholds` are sorted.
    """
    if before is None or before == value:
        return False
    low, high = (before, value) if before < value else (value, before)
    first = bisect_left(thresholds, low)
    return first < len(thresholds) and thresholds[first] <= high


def _begin(rule: Rule, state: RuleState, at: datetime) -> Stepped:
    since = state.since or at
    is_cooling = state.raised_at is not None and at - state.raised_at < rule.cooldown
    if is_cooling or at - since < rule.raise_after:
        return RuleState(at, False, since, state.raised_at), None
    return RuleState(at, True, None, at), Decision.RAISE


def _hear(rule: Rule, state: RuleState, at: datetime) -> Stepped:
    if not state.is_raised:
        return RuleState(at, False, None, state.raised_at), None
    was_silent = state.last_at is None or at - state.last_at > span(rule.threshold)
    return _wait_for_end(rule, state, at, None if was_silent else state.since, is_good=True)


def _wait_for_end(
    rule: Rule, state: RuleState, at: datetime, since: datetime | None, *, is_good: bool
) -> Stepped:
    if not is_good or not rule.resolves_itself:
        return RuleState(at, True, None, state.raised_at), None
    since = since or at
    if at - since < rule.clear_after:
        return RuleState(at, True, since, state.raised_at), None
    return RuleState(at, False, None, state.raised_at), Decision.CLEAR


# --- Words ---------------------------------------------------------------------------------


def title_of(rule: Rule) -> str:
    """Return an alert's title, e.g. "Warning: temperature above 30"."""
    unit = " s" if rule.is_absence else ""
    words = f"{rule.metric} {WORDS[rule.condition]} {number(rule.threshold)}{unit}"
    return f"{rule.severity.capitalize()}: {words}"


def message_of(rule: Rule, value: float | None, unit: str) -> str:
    """Return what an alert says, e.g. "temperature is 32.5 °C, above 30 °C for 60 s"."""
    if rule.is_absence or value is None:
        return f"No reading of {rule.metric} for {number(rule.threshold)} s"
    limit = _with_unit(rule.threshold, unit)
    held = f" for {number(rule.raise_after.total_seconds())} s" if rule.raise_after else ""
    measured = _with_unit(round(value, SHOWN_DIGITS), unit)
    return f"{rule.metric} is {measured}, {WORDS[rule.condition]} {limit}{held}"


def number(value: float) -> str:
    """Return a number as people write it: 30 for 30.0, all digits that matter."""
    return f"{value:.12g}"


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".strip()


# --- Finding them --------------------------------------------------------------------------


class _Group(NamedTuple):
    rules: tuple[Rule, ...] = ()
    thresholds: tuple[float, ...] = ()

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> "_Group":
        rules = tuple(rules)
        by_value = [rule for rule in rules if not rule.is_absence]
        limits = {rule.threshold for rule in by_value} | {rule.clear_threshold for rule in by_value}
        return cls(rules, tuple(sorted(limits)))


NOTHING = _Group()
# One device, or a type of them, or all: the empty string.
Audience = int | str


class RuleBook:
    """All active rules. The work of finding a reading's does not grow with their number."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules: dict[int, Rule] = {}
        self._by_metric: dict[str, dict[Audience, _Group]] = {}
        self._metrics: dict[Audience, dict[str, None]] = {}
        groups: dict[tuple[str, Audience], list[Rule]] = {}
        for rule in rules:
            self._rules[rule.id] = rule
            groups.setdefault((rule.metric, _audience(rule)), []).append(rule)
        for (metric, audience), group in groups.items():
            self._keep(metric, audience, group)

    def __len__(self) -> int:
        return len(self._rules)

    def concerns(self, metrics: Mapping[str, object]) -> bool:
        """Whether any rule at all is about one of these metrics."""
        return not metrics.keys().isdisjoint(self._by_metric.keys())

    def get(self, rule_id: int) -> Rule | None:
        return self._rules.get(rule_id)

    def put(self, rule: Rule) -> None:
        """Add a rule, or replace the one with its id."""
        self.remove(rule.id)
        self._rules[rule.id] = rule
        group = self._group(rule.metric, _audience(rule))
        self._keep(rule.metric, _audience(rule), (*group.rules, rule))

    def remove(self, rule_id: int) -> None:
        """Forget a rule; safe to repeat."""
        rule = self._rules.pop(rule_id, None)
        if rule is None:
            return
        metric, audience = rule.metric, _audience(rule)
        rest = [other for other in self._group(metric, audience).rules if other.id != rule_id]
        self._keep(metric, audience, rest)

    def rules_of(self, device_id: int, device_type: str, metric: str) -> tuple[Rule, ...]:
        """Return the rules that a reading is judged by."""
        groups = self._by_metric.get(metric)
        if groups is None:
            return ()
        rules = groups.get(device_id, NOTHING).rules
        if device_type:
            rules += groups.get(device_type, NOTHING).rules
        return rules + groups.get("", NOTHING).rules

    def metrics_of(self, device_id: int, device_type: str) -> set[str]:
        """Return the metrics that some rule watches on this device."""
        audiences: tuple[Audience, ...] = (device_id, device_type, "")
        return {metric for each in audiences for metric in self._metrics.get(each, ())}

    def crossed(
        self, device_id: int, device_type: str, metric: str, before: float | None, value: float
    ) -> bool:
        """Tell whether a threshold of one of these rules lies between the two values."""
        groups = self._by_metric.get(metric)
        if groups is None or before is None or before == value:
            return False
        for audience in (device_id, device_type, ""):
            group = groups.get(audience)
            if group is not None and crosses(before, value, group.thresholds):
                return True
        return False

    def _group(self, metric: str, audience: Audience) -> _Group:
        return self._by_metric.get(metric, {}).get(audience, NOTHING)

    def _keep(self, metric: str, audience: Audience, rules: Iterable[Rule]) -> None:
        group = _Group.of(rules)
        if group.rules:
            self._by_metric.setdefault(metric, {})[audience] = group
            self._metrics.setdefault(audience, {})[metric] = None
            return
        _drop(self._by_metric, metric, audience)
        _drop(self._metrics, audience, metric)


def _audience(rule: Rule) -> Audience:
    return rule.device_type if rule.device_id is None else rule.device_id


def _drop(table: dict, outer: object, inner: object) -> None:
    table[outer].pop(inner, None)
    if not table[outer]:
        del table[outer]
