"""`manage.py backtest_rule RULE`: what a rule would have raised on the stored readings."""

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices.backtest import Outcome
from devices.models import AlertRule
from devices.rules import number
from devices.services.previews import HOURS_DEFAULT, TIME_FORMAT, Preview, Row, preview_rule
from realtime.core.apart import stop_apart
from realtime.core.errors import Failure

CHANGES = (
    "threshold",
    "clear_threshold",
    "raise_after_seconds",
    "clear_after_seconds",
    "cooldown_seconds",
)
HEAD = ("device", "raised", "value", "until", "today")


class Command(BaseCommand):
    help = (
        "Shows what an alert rule would have raised on the stored readings. With one of its "
        "numbers changed it shows how that differs from today's rule; nothing is saved."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("rule", metavar="RULE", help="its number, or its name")
        parser.add_argument("--hours", type=float, default=HOURS_DEFAULT, help="how far back")
        for name in CHANGES:
            field = AlertRule._meta.get_field(name)
            option = "--" + name.removesuffix("_seconds").replace("_", "-")
            kind = int if name == "cooldown_seconds" else float
            parser.add_argument(
                option, dest=name, type=kind, metavar="X", help=str(field.help_text)
            )

    def handle(self, *, rule: str, hours: float, **options: Any) -> None:
        chosen = _rule(rule)
        for name in CHANGES:
            if options[name] is not None:
                setattr(chosen, name, options[name])
        try:
            chosen.full_clean()
            preview = preview_rule(chosen, now=timezone.now(), hours=hours)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except Failure as error:
            raise CommandError(str(error)) from error
        finally:
            stop_apart()
        for line in _table(preview):
            self.stdout.write(line)
        self.stdout.write(f"\n{preview.title}: {_sum(preview.changed)}")
        if preview.today is not None:
            self.stdout.write(f"Today: {_sum(preview.today)}")
        if preview.is_cut:
            self.stdout.write(f"Only the first {len(preview.lines)} are listed.")


def _rule(given: str) -> AlertRule:
    rules = AlertRule.objects.all()
    found = list(rules.filter(pk=given) if given.isdecimal() else rules.filter(name=given))
    if len(found) != 1:
        raise CommandError(f"There are {len(found) or 'no'} rules {given!r}: give a number.")
    return found[0]


def _table(preview: Preview) -> list[str]:
    rows = [HEAD if preview.today is not None else HEAD[:-1]]
    rows += [_cells(row)[: len(rows[0])] for row in preview.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cells(row: Row) -> tuple[str, ...]:
    alert = row.alert
    return (
        row.device,
        _time(alert.raised_at),
        "-" if alert.value is None else number(alert.value),
        "still open" if alert.cleared_at is None else _time(alert.cleared_at),
        row.beside,
    )


def _time(moment: datetime) -> str:
    return moment.strftime(TIME_FORMAT)


def _sum(outcome: Outcome) -> str:
    open_time = timedelta(seconds=round(outcome.open_time.total_seconds()))
    return (
        f"alerts: {outcome.count:,}, open for {open_time} in all; readings: {outcome.readings:,}."
    )
