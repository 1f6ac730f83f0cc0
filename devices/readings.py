"""What a device reports in one message, and a reading as it is stored. Pure: no Django."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from devices.clocks import SKEW
from realtime.core.errors import Invalid
from realtime.core.events import Measured

# Of one device. Whoever invents a name for every message would fill memory, ours and others'.
METRICS_MAX: Final = 200


class Report(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Some metrics of one device at one or several times, received together.

    `account_id` is the account that the device signs in with, for the right to hear of it.
    `message_id` is what the device called the message, or empty.
    """

    device_id: int
    account_id: UUID | None
    metrics: dict[str, Measured]
    received_at: datetime
    message_id: str = ""

    def is_skewed(self, measured: Measured) -> bool:
        """Whether this value's time lies further ahead than a clock may go wrong."""
        return measured.at - self.received_at > SKEW


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A reading as the database has it."""

    id: int
    device_id: int
    metric: str
    value: float
    unit: str
    at: datetime
    received_at: datetime
    is_skewed: bool = False
    message_id: str = ""


def too_many_metrics(metric: str) -> Invalid:
    """Return the refusal of a metric beyond the last one that a device may have."""
    return Invalid(f"a device has at most {METRICS_MAX} metrics", field=metric)
