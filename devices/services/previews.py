"""What a rule would raise if it were in force: on paper, over the stored readings."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from devices.backtest import ALERTS_MAX, Case, Episode, Outcome, Pair, back_test, compare
from devices.export import database_address
from devices.models import AlertRule, Device, Series
from devices.rules import Rule, title_of
from devices.services.rules import compiled
from realtime.core.apart import run_apart
from realtime.core.errors import Invalid

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
HOURS_DEFAULT = 24
# As far back as a page can reasonably wait for.
HOURS_MAX = 24 * 31


class Row(NamedTuple):
    """A line for people: the device's name, the alert, and whether today's rule raises it."""

    device: str
    alert: Episode
    beside: str


class Preview(msgspec.Struct, frozen=True):
    """A rule as it would be beside what it is today; `today` is None where they are the same.

    `lines` are the alerts of both side by side, of each the first `ALERTS_MAX`.
    """

    since: datetime
    until: datetime
    title: str
    changed: Outcome
    today: Outcome | None
    lines: list[Pair]
    devices: dict[int, str]

    @property
    def is_cut(self) -> bool:
        """Whether there are more alerts than lines."""
        outcomes = [outcome for outcome in (self.changed, self.today) if outcome is not None]
        return any(outcome.count > ALERTS_MAX for outcome in outcomes)

    @property
    def rows(self) -> list[Row]:
        """Return the lines as a table shows them."""
        rows = []
        for line in self.lines:
            alert = line.changed or line.today
            assert alert is not None
            device = self.devices.get(alert.device_id, str(alert.device_id))
            rows.append(Row(device, alert, _beside(line)))
        return rows


def preview_rule(
    rule: AlertRule,
    *,
    now: datetime,
    hours: float = HOURS_DEFAULT,
    run: Callable[..., Any] = run_apart,
) -> Preview:
    """Return what `rule` as it is in memory would have raised in the last hours.

    It may be new, or have fields that are not saved: then it is compared with what is stored.
    Computed in a child process; blocks the calling thread. Raises Invalid for `hours`, and
    Unavailable when it takes too long.
    """
    if not 0 < hours <= HOURS_MAX:
        raise Invalid(f"look back more than 0 and at most {HOURS_MAX} hours", field="hours")
    since, until = now - timedelta(hours=hours), now
    changed, today = compiled(rule), _today(rule)
    cases = [_case(changed)]
    if today is not None and _judges_otherwise(today, changed):
        cases.append(_case(today))
    outcome, *before = run(back_test, database_address(), cases, since, until)
    present = before[0] if before else None
    lines = compare(outcome.alerts if present is None else present.alerts, outcome.alerts)
    return Preview(
        since=since,
        until=until,
        title=title_of(changed),
        changed=outcome,
        today=present,
        lines=lines,
        devices=_names(lines),
    )


def _beside(line: Pair) -> str:
    if line.today is None:
        return "not raised"
    return "only today" if line.changed is None else f"at {line.today.raised_at:{TIME_FORMAT}}"


def _today(rule: AlertRule) -> Rule | None:
    stored = AlertRule.objects.filter(pk=rule.pk).first()
    return None if stored is None else compiled(stored)


def _judges_otherwise(one: Rule, other: Rule) -> bool:
    return one != msgspec.structs.replace(other, changed_at=one.changed_at)


def _case(rule: Rule) -> Case:
    series = Series.objects.filter(metric=rule.metric, device__is_active=True)
    if rule.device_id is not None:
        series = series.filter(device_id=rule.device_id)
    elif rule.device_type:
        series = series.filter(device__device_type=rule.device_type)
    return Case(rule, list(series.order_by("device_id").values_list("device_id", "pk")))


def _names(lines: list[Pair]) -> dict[int, str]:
    episodes = [each for line in lines for each in (line.today, line.changed) if each is not None]
    ids = {episode.device_id for episode in episodes}
    return dict(Device.objects.filter(pk__in=ids).values_list("pk", "name"))
