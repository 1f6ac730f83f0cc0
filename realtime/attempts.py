"""Connections that were refused or cut, and what clients report: rows for the operators.

However many there are, they cost little: a few rows a second, written in one batch off the event
loop; the rest is only counted. The oldest rows make room for new ones.
"""

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import models, transaction

from realtime.calls import call
from realtime.core.limits import ConnectionBudget
from realtime.models import ErrorReport, RefusedAttempt

logger = logging.getLogger("vitalwire.attempts")

ROWS_PER_SECOND = 20
# What waits while the database is away.
PENDING_MAX = 500
ERROR_REPORTS_MAX = 1_000
ERROR_REPORT_CHARACTERS = 2_000
# Reasons and endpoints are ours, and few; should they ever be somebody else's, so many.
KINDS_MAX = 500

# After an alert about an address there is none about it for so long, and never more than so
# many a minute about all of them.
QUIET_SECONDS = 600.0
ALERTS_PER_MINUTE = 6
ADDRESSES_MAX = 4_096

# How an open connection ends when it was cut; every other end is nothing to look into.
CUTS = frozenset({"access_ended", "bad_data", "flood", "protocol_error", "stalled", "too_big"})
# What is our doing is not held against the address.
OURS = frozenset({"access_ended", "fault", "restarting", "try_later"})

NOT_LISTED = "not_listed"
ANY = "any"
TOKEN = re.compile(r"eyJ[\w-]*(?:\.[\w-]*)*")

OnMany = Callable[[str, int], None]
Row = dict[str, Any]


class Attempts:
    """The refused and cut connections of this process. Belongs to the event loop's thread.

    `on_many(address, number)` is called when one address had that many within a minute.
    """

    def __init__(
        self, *, on_many: OnMany | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self._on_many = on_many
        self._clock = clock
        self._pending: list[Row] = []
        self._second = 0
        self._listed = 0
        self._not_listed = 0
        self._addresses = ConnectionBudget(
            connections=0, per_minute=settings.REFUSED_PER_ADDRESS_ALERT
        )
        self._alerts = ConnectionBudget(connections=0, per_minute=ALERTS_PER_MINUTE)
        self._quiet_until: dict[str, float] = {}

    def note(
        self, reason: str, *, username: str, address: str, endpoint: str, detail: str = ""
    ) -> None:
        """Count a refused or cut connection; list it if there are not too many."""
        now = self._clock()
        key = (reason, endpoint)
        if key not in self.counts and len(self.counts) >= KINDS_MAX:
            key = (NOT_LISTED, ANY)
        self.counts[key] = self.counts.get(key, 0) + 1
        if self._has_room(now):
            self._pending.append(
                {
                    "at": datetime.fromtimestamp(now, UTC),
                    "reason": reason[:40],
                    "detail": _clean(detail, 200),
                    "username": _clean(username, 150),
                    "address": _clean(address, 64),
                    "endpoint": endpoint[:40],
                }
            )
        else:
            self._not_listed += 1
        if address and reason not in OURS:
            self._watch(address, now)

    async def write(self) -> None:
        """Write what was noted since the last time. Raises DatabaseError; nothing is lost then."""
        rows, self._pending = self._pending, []
        more, self._not_listed = self._not_listed, 0
        if more:
            rows.append(self._summary(more))
        if not rows:
            return
        try:
            await call(_store_attempts, rows)
        except DatabaseProblem:
            self._pending = rows[: PENDING_MAX - len(self._pending)] + self._pending
            raise

    def _has_room(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._listed = int(now), 0
        self._listed += 1
        return self._listed <= ROWS_PER_SECOND and len(self._pending) < PENDING_MAX

    def _summary(self, more: int) -> Row:
        return {
            "at": datetime.fromtimestamp(self._clock(), UTC),
            "reason": NOT_LISTED,
            "detail": f"{more} more were counted, too many to list",
            "endpoint": ANY,
        }

    def _watch(self, address: str, now: float) -> None:
        """Tell of an address that is refused too often, once in a while."""
        if self._addresses.admit(address, now) or now < self._quiet_until.get(address, 0.0):
            return
        if not self._alerts.admit(ANY, now):
            return
        if len(self._quiet_until) >= ADDRESSES_MAX:
            del self._quiet_until[next(iter(self._quiet_until))]
        self._quiet_until[address] = now + QUIET_SECONDS
        logger.warning("many refused connections from %s", address)
        if self._on_many is not None:
            self._on_many(address, self._addresses.per_minute)


def record_error_report(
    *, username: str, address: str, error: str, message: str, now: datetime
) -> None:
    """Keep what a client could not process, as it tells; whoever calls limits how often.

    `message` is what it received, as text. Both are cut to a bounded length.
    """
    report = ErrorReport.objects.create(
        at=now,
        username=_clean(username, 150),
        address=_clean(address, 64),
        error=_clean(error, 500),
        message=_clean(message, ERROR_REPORT_CHARACTERS),
    )
    logger.info("error report of %s: %s", report.username, report.error)
    _keep_newest(ErrorReport, report.pk, ERROR_REPORTS_MAX)


def _store_attempts(rows: list[Row]) -> None:
    with transaction.atomic():
        RefusedAttempt.objects.bulk_create([RefusedAttempt(**row) for row in rows])
        newest = RefusedAttempt.objects.values_list("pk", flat=True).first() or 0
        _keep_newest(RefusedAttempt, newest, settings.REFUSED_ATTEMPTS_KEPT)


def _keep_newest(model: type[models.Model], newest: int, most: int) -> None:
    """Delete the oldest rows; keys only grow, so that nothing has to be counted."""
    model._default_manager.filter(pk__lte=newest - most).delete()


def _clean(text: str, most: int) -> str:
    """Return a text of at most `most` characters without control characters and tokens."""
    text = TOKEN.sub("[token]", text[: most * 4])[:most]
    return "".join(each if each.isprintable() else "\ufffd" for each in text)
