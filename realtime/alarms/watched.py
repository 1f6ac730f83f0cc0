"""The devices that this process evaluates, with the state of each rule. No I/O, no loop."""

import heapq
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from devices.rules import (
    FRESH,
    Decision,
    Rule,
    RuleBook,
    RuleState,
    absent,
    due_at,
    moment_of,
    raised,
    resolved,
    silenced,
    step,
)
from devices.services.rules import Reloaded
from realtime.alarms.shares import Heard


class Verdict(NamedTuple):
    """A decision to be carried out, and what led to it: no value when there was none."""

    device_id: int
    rule: Rule
    decision: Decision
    value: float | None
    unit: str
    at: datetime


class Watched(msgspec.Struct):
    """One device. A muted one (in maintenance) has its alerts resolved, but raises none."""

    device_id: int
    device_type: str
    is_muted: bool
    states: dict[int, RuleState]
    # Rule → the last alert that we know of; it is open while the state is raised.
    alerts: dict[int, int]


class Watching:
    """Evaluates what is heard by the rules of `book`. Bounded by devices times their rules."""

    def __init__(self) -> None:
        self.book = RuleBook()
        self.devices: dict[int, Watched] = {}
        # When to look for an absence of (device, rule): the earliest moment at which it can be
        # due. What was put off stays in the heap until then, and is passed over.
        self._dues: list[tuple[datetime, int, int]] = []
        self._awaited: dict[tuple[int, int], datetime] = {}

    def add(self, device: Watched) -> None:
        self.devices[device.device_id] = device
        for rule in self._rules_of_absence(device):
            self._await_absence(device, rule)

    def evaluate(self, device: Watched, heard: Heard) -> list[Verdict]:
        """Take the values; return what they lead to, in order."""
        verdicts: list[Verdict] = []
        received_at = heard.received_at
        states = device.states
        for metric, measured in heard.metrics.items():
            judged_at = moment_of(measured.at, received_at)
            for rule in self.book.rules_of(device.device_id, device.device_type, metric):
                moment = received_at if rule.is_absence else judged_at
                before = states.get(rule.id, FRESH)
                if device.is_muted and not before.is_raised:
                    states[rule.id] = silenced(before, moment)
                    continue
                states[rule.id], decision = step(rule, before, measured.value, moment)
                if decision is not None:
                    value, unit = measured.value, measured.unit
                    verdicts.append(
                        Verdict(device.device_id, rule, decision, value, unit, received_at)
                    )
                if rule.is_absence and (decision is not None or before.last_at is None):
                    self._await_absence(device, rule)
        return verdicts

    def miss(self, device: Watched, now: datetime) -> list[Verdict]:
        """Return the absences of a device that are due; its state has to be up to date."""
        verdicts: list[Verdict] = []
        for rule in self._rules_of_absence(device):
            state, decision = absent(rule, device.states.get(rule.id, FRESH), now)
            if decision is not None and not device.is_muted:
                device.states[rule.id] = state
                verdicts.append(Verdict(device.device_id, rule, decision, None, "", now))
        return verdicts

    def due(self, now: datetime) -> Iterator[tuple[Watched, Rule]]:
        """Yield the rules of absence that are due; the others are looked at again in time.

        A muted device is not absent: it counts from when it is back.
        """
        while self._dues and self._dues[0][0] <= now:
            at, device_id, rule_id = heapq.heappop(self._dues)
            if self._awaited.get((device_id, rule_id)) != at:
                continue
            del self._awaited[device_id, rule_id]
            device, rule = self.devices.get(device_id), self.book.get(rule_id)
            if device is None or rule is None:
                continue
            state = device.states.get(rule_id, FRESH)
            if device.is_muted:
                device.states[rule_id] = msgspec.structs.replace(state, last_at=now)
            due = due_at(rule, state)
            if due is not None and due <= now and not device.is_muted:
                yield device, rule
            else:
                self._await_absence(device, rule)

    def on_raised(self, device_id: int, rule_id: int, alert_id: int, at: datetime) -> None:
        """Take note of an alert that another process raised, or a person."""
        device = self.devices.get(device_id)
        if device is None or alert_id <= device.alerts.get(rule_id, 0):
            return
        device.alerts[rule_id] = alert_id
        device.states[rule_id] = raised(device.states.get(rule_id, FRESH), at)

    def on_resolved(self, device_id: int, rule_id: int, alert_id: int) -> None:
        """Take note that an alert is not open any more."""
        device = self.devices.get(device_id)
        if device is None or alert_id < device.alerts.get(rule_id, 0):
            return
        device.alerts[rule_id] = alert_id
        device.states[rule_id] = resolved(device.states.get(rule_id, FRESH))
        rule = self.book.get(rule_id)
        if rule is not None:
            self._await_absence(device, rule)

    def note(self, device_id: int, rule_id: int, alert_id: int) -> None:
        """Remember the alert that our own decision became."""
        device = self.devices.get(device_id)
        if device is not None:
            device.alerts[rule_id] = max(alert_id, device.alerts.get(rule_id, 0))

    def change(self, rule_id: int, now: Reloaded | None) -> None:
        """Put a rule as it is now in place of what it was; None: it is not in force any more."""
        for device in self.devices.values():
            device.states.pop(rule_id, None)
            device.alerts.pop(rule_id, None)
        self.book.remove(rule_id)
        if now is None:
            return
        self.book.put(now.rule)
        for device_id, state in now.states.items():
            device = self.devices.get(device_id)
            if device is not None:
                device.states[rule_id] = state
        for device_id, alert_id in now.open_alerts.items():
            self.note(device_id, rule_id, alert_id)

    def _rules_of_absence(self, device: Watched) -> Iterator[Rule]:
        for metric in self.book.metrics_of(device.device_id, device.device_type):
            for rule in self.book.rules_of(device.device_id, device.device_type, metric):
                if rule.is_absence:
                    yield rule

    def _await_absence(self, device: Watched, rule: Rule) -> None:
        due = due_at(rule, device.states.get(rule.id, FRESH))
        pair = device.device_id, rule.id
        if due is not None and (pair not in self._awaited or due < self._awaited[pair]):
            self._awaited[pair] = due
            heapq.heappush(self._dues, (due, *pair))
