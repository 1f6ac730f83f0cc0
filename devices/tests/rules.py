"""Compiled rules and readings for tests that need no database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from devices.rules import FRESH, Condition, Decision, Rule, RuleState, span, step

NOW = datetime(2026, 3, 5, 10, 30, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def rule(
    condition: str = "gt", threshold: float = 30.0, *, clear: float | None = None, **fields: Any
) -> Rule:
    """Return a rule that does not want it warmer than 30, for all devices; times in seconds."""
    spans = ("raise_after", "clear_after", "cooldown")
    given = {name: span(fields.pop(name, 0)) for name in spans}
    named = {
        "id": 1,
        "device_id": None,
        "device_type": "",
        "metric": "temperature",
        "severity": "warning",
        "resolves_itself": True,
        "changed_at": LONG_AGO,
    }
    return Rule(
        condition=Condition(condition),
        threshold=threshold,
        clear_threshold=threshold if clear is None else clear,
        **(named | given | fields),
    )


def decisions(
    rule: Rule, *readings: tuple[float, float], state: RuleState = FRESH
) -> list[tuple[float, Decision]]:
    """Step through (second, value) and return (second, decision) for each decision."""
    found = []
    for second, value in readings:
        state, decision = step(rule, state, value, at(second))
        if decision is not None:
            found.append((second, decision))
    return found
