"""Evaluates readings of many devices by the alert rules in memory, as the hot path does.

Run as `python -m bench.evaluations RULES READINGS`; prints JSON in microseconds a reading.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

import django

django.setup()

from devices.readings import Report  # noqa: E402
from devices.rules import Condition, Rule, RuleBook, span  # noqa: E402
from realtime.alarms import Alarms  # noqa: E402
from realtime.alarms.watched import Watched  # noqa: E402
from realtime.core.events import Measured  # noqa: E402

DEVICES = 1_000
METRICS = ("temperature", "humidity", "pressure", "voltage")
# Nothing is raised: a decision is the database's work, and measured elsewhere.
LIMITS = {Condition.GT: 1_000.0, Condition.GTE: 1_000.0, Condition.LT: -1.0, Condition.LTE: -1.0}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def load_rules(count: int) -> RuleBook:
    """Return a tenth of the rules for a type each, the others for single devices."""
    return RuleBook(_rule(number, is_shared=number % 10 == 0) for number in range(count))


def _rule(number: int, *, is_shared: bool) -> Rule:
    condition, limit = list(LIMITS.items())[number % len(LIMITS)]
    return Rule(
        id=number + 1,
        device_id=None if is_shared else number % DEVICES,
        device_type=f"type-{number // 10 % 250}" if is_shared else "",
        metric=METRICS[number // DEVICES % len(METRICS)],
        condition=condition,
        threshold=limit,
        clear_threshold=limit,
        raise_after=span(number % 3 * 10),
        clear_after=span(0),
        cooldown=span(1_800),
        severity="warning",
        resolves_itself=True,
        changed_at=BEGAN,
    )


def reports(count: int) -> list[Report]:
    """Return good values of every device and metric in turn, a second apart."""
    made = []
    for number in range(count):
        at = BEGAN + timedelta(seconds=number)
        measured = Measured(20.0 + number % 7, "", at)
        made.append(
            Report(
                device_id=number % DEVICES,
                account_id=None,
                metrics={METRICS[number // DEVICES % len(METRICS)]: measured},
                received_at=at,
            )
        )
    return made


def main(rules: int, readings: int) -> None:
    """Measure and print the mean, each reading checked for a crossing as well."""
    alarms = Alarms("bench")
    watching = alarms._watching
    watching.book = load_rules(rules)
    for device_id in range(DEVICES):
        watching.add(Watched(device_id, f"type-{device_id % 250}", False, {}, {}))
    made = reports(readings)
    began = time.perf_counter()
    for report in made:
        device_id = report.device_id
        for metric, measured in report.metrics.items():
            alarms.crossed(device_id, f"type-{device_id % 250}", metric, 25.0, measured.value)
        alarms.observe(report)
    took = time.perf_counter() - began
    if not alarms.is_idle:
        raise RuntimeError("some reading was not evaluated here")
    print(json.dumps({"mean": took / readings * 1e6}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
