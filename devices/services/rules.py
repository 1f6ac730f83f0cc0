"""Alert rules from the database, the state that a restart restores, and what a decision does.

The state of a rule and device is its last alert, and the readings since then, taken through
the same engine as live ones. Times are passed in, aware UTC.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from django.db.models import Max, OuterRef, Q, QuerySet, Subquery

from devices.clocks import SKEW
from devices.models import Alert, AlertRule, Device, Reading, Series
from devices.rules import (
    FRESH,
    Condition,
    Decision,
    Rule,
    RuleBook,
    RuleState,
    moment_of,
    span,
    step,
)

# A process that dies is noticed 12 s after its last heartbeat; whoever takes its devices over
# looks back further than that.
MARGIN = timedelta(seconds=30)
# A clock may say so; there is nothing before it.
FIRST = datetime.min.replace(tzinfo=UTC)
SERIES_AT_ONCE = 50
ROWS_AT_ONCE = 2_000


class Undecided(NamedTuple):
    """A decision that a stored reading leads to and that no alert tells of yet."""

    rule: Rule
    decision: Decision
    value: float
    unit: str
    received_at: datetime


class Restored(msgspec.Struct, kw_only=True):
    """One device in service: its rules' states, and its open alerts: rule id → alert id."""

    device_id: int
    device_type: str
    is_muted: bool
    states: dict[int, RuleState] = {}
    open_alerts: dict[int, int] = {}
    undecided: list[Undecided] = []


class Reloaded(msgspec.Struct, frozen=True):
    """A rule as it is now, and what its alerts say: by device, its state and its open alert."""

    rule: Rule
    states: dict[int, RuleState]
    open_alerts: dict[int, int]


class _Past(msgspec.Struct, frozen=True):
    """The last alert of a rule and device, as a state, and when that state began."""

    state: RuleState
    began_at: datetime
    alert_id: int | None


def compiled(rule: AlertRule) -> Rule:
    """Return what the engine needs of a rule, saved or not."""
    clear = rule.threshold if rule.clear_threshold is None else rule.clear_threshold
    return Rule(
        id=rule.pk or 0,
        device_id=rule.device_id,
        device_type="" if rule.device_id else rule.device_type,
        metric=rule.metric,
        condition=Condition(rule.condition),
        threshold=rule.threshold,
        clear_threshold=clear,
        raise_after=span(rule.raise_after_seconds),
        clear_after=span(rule.clear_after_seconds),
        cooldown=span(rule.cooldown_seconds),
        # A new one has the member of an enumeration that needs Django; this travels without it.
        severity=str(rule.severity),
        resolves_itself=rule.resolves_itself,
        changed_at=rule.updated_at,
    )


def load_rules() -> RuleBook:
    """Return all active rules."""
    return RuleBook(map(compiled, AlertRule.objects.filter(is_active=True).iterator()))


def reload_rules(rule_ids: Collection[int]) -> dict[int, Reloaded]:
    """Return those of these rules that are active, and where they stand by their alerts alone."""
    rules = map(compiled, AlertRule.objects.filter(pk__in=rule_ids, is_active=True))
    found = {rule.id: Reloaded(rule, {}, {}) for rule in rules}
    past = _past_of(Alert.objects.filter(rule_id__in=list(found)))
    for (rule_id, device_id), each in past.items():
        found[rule_id].states[device_id] = each.state
        if each.alert_id is not None:
            found[rule_id].open_alerts[device_id] = each.alert_id
    return found


def load_devices() -> dict[int, str]:
    """Return the devices in service: id → type."""
    return dict(Device.objects.filter(is_active=True).values_list("id", "device_type"))


def restore(
    book: RuleBook,
    device_ids: Collection[int],
    *,
    since: Mapping[int, datetime],
    listening_since: datetime,
    now: datetime,
) -> list[Restored]:
    """Return where these devices stand; those out of service are left out.

    `since` is from when on a device's readings may not have been looked at, for those where
    that is known. Decisions are made anew from its readings since its last alert, as far back
    as the longest hold time and a margin. Nothing is absent for the time before
    `listening_since`: nobody could report to a server that was down.
    """
    devices = list(Device.objects.filter(pk__in=device_ids, is_active=True))
    found = {
        device.pk: Restored(
            device_id=device.pk,
            device_type=device.device_type,
            is_muted=device.status == Device.Status.MAINTENANCE,
        )
        for device in devices
    }
    past = _past_of(Alert.objects.filter(device_id__in=list(found)))
    for (rule_id, device_id), each in past.items():
        if book.get(rule_id) is None:
            continue
        found[device_id].states[rule_id] = each.state
        if each.alert_id is not None:
            found[device_id].open_alerts[rule_id] = each.alert_id
    for device in devices:
        _await_absence(book, found[device.pk], max(device.created_at, listening_since))
    _replay(list(_lines(book, found, since, now)), past)
    return list(found.values())


def _past_of(alerts: QuerySet[Alert]) -> dict[tuple[int, int], _Past]:
    """Return the last alert of each rule and device."""
    last = (
        alerts.filter(rule_id__isnull=False, device_id__isnull=False)
        .order_by()
        .values("rule_id", "device_id")
        .annotate(last=Max("pk"))
        .values("last")
    )
    rows = Alert.objects.filter(pk__in=last).order_by()
    return {(alert.rule_id, alert.device_id): _past(alert) for alert in rows}


def _past(alert: Alert) -> _Past:
    is_open = alert.status != Alert.Status.RESOLVED
    began_at = alert.created_at if is_open else alert.resolved_at or alert.created_at
    state = RuleState(None, is_open, None, alert.created_at)
    return _Past(state, began_at, alert.pk if is_open else None)


def _await_absence(book: RuleBook, device: Restored, listening_since: datetime) -> None:
    """Let absence count from when the device, the rule and we ourselves were there."""
    for metric in book.metrics_of(device.device_id, device.device_type):
        for rule in book.rules_of(device.device_id, device.device_type, metric):
            if rule.is_absence:
                state = device.states.get(rule.id, FRESH)
                began_at = max(listening_since, rule.changed_at)
                device.states[rule.id] = msgspec.structs.replace(state, last_at=began_at)


class _Line(NamedTuple):
    """A series to read again from `from_at` on, and the rules that it is for."""

    series_id: int
    device: Restored
    rules: tuple[Rule, ...]
    from_at: datetime


def _lines(
    book: RuleBook, found: Mapping[int, Restored], since: Mapping[int, datetime], now: datetime
) -> Iterator[_Line]:
    """Yield each series that some rule watches, with the window to read.

    A window ends with the newest reading, not now: a device's clock may be behind. Readings
    from the future do not count for that.
    """
    metrics = {
        each.device_id: book.metrics_of(each.device_id, each.device_type)
        for each in found.values()
        if not each.is_muted
    }
    past = Reading.objects.filter(series=OuterRef("pk"), at__lte=now + SKEW)
    series = Series.objects.filter(
        device_id__in=list(metrics), metric__in=set[str]().union(*metrics.values())
    ).annotate(newest=Subquery(past.order_by("-at").values("at")[:1]))
    for pk, device_id, metric, newest in series.values_list("pk", "device_id", "metric", "newest"):
        if newest is None or metric not in metrics[device_id]:
            continue
        device = found[device_id]
        rules = book.rules_of(device_id, device.device_type, metric)
        hold = max(max(rule.raise_after, rule.clear_after) for rule in rules)
        start = min(newest, since.get(device_id, newest))
        margin = min(hold + MARGIN, start - FIRST)
        yield _Line(pk, device, rules, start - margin)


def _replay(lines: list[_Line], past: Mapping[tuple[int, int], _Past]) -> None:
    for first in range(0, len(lines), SERIES_AT_ONCE):
        batch = {line.series_id: line for line in lines[first : first + SERIES_AT_ONCE]}
        wanted = Q()
        for line in batch.values():
            wanted |= Q(series_id=line.series_id, at__gte=line.from_at)
        # In the order in which they came: what was late then is late now.
        rows = Reading.objects.filter(wanted).order_by("received_at", "pk")
        columns = ("series_id", "at", "received_at", "value", "unit")
        for series_id, *reading in rows.values_list(*columns).iterator(chunk_size=ROWS_AT_ONCE):
            line = batch[series_id]
            for rule in line.rules:
                _take(line.device, rule, past.get((rule.id, line.device.device_id)), *reading)


def _take(
    device: Restored,
    rule: Rule,
    past: _Past | None,
    at: datetime,
    received_at: datetime,
    value: float,
    unit: str,
) -> None:
    """Step one rule, unless the reading was told of by its alert, or came before the rule.

    Even then it makes an earlier one late, which may still come: sent again, or for the first
    time.
    """
    start = rule.changed_at if past is None else max(rule.changed_at, past.began_at)
    moment = received_at if rule.is_absence else moment_of(at, received_at)
    state, decision = device.states.get(rule.id, FRESH), None
    if received_at > start:
        state, decision = step(rule, state, value, moment)
    elif state.last_at is None or state.last_at < moment:
        state = msgspec.structs.replace(state, last_at=moment)
    device.states[rule.id] = state
    if decision is not None:
        device.undecided.append(Undecided(rule, decision, value, unit, received_at))
