"""What several kinds of bodies share: times as this API writes them, and the pages of a list."""

from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from devices.api.fields import TextField, WholeField

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
# `skip` is counted by the database: nobody pages so far by hand.
SKIP_MAX = 10_000_000
HOURS_DEFAULT = 24
HOURS_MAX = 168


def naive_utc(moment: datetime | None) -> str | None:
    """Write a time as the documents' REST does: ISO, in UTC, without saying so."""
    return moment and moment.astimezone(UTC).replace(tzinfo=None).isoformat()


class NaiveUtcField(serializers.DateTimeField):
    """See `naive_utc`."""

    def to_representation(self, value: datetime | None) -> str | None:
        return naive_utc(value)


def limit_field() -> WholeField:
    return WholeField(least=1, most=LIMIT_MAX, default=LIMIT_DEFAULT)


def hours_field() -> WholeField:
    return WholeField(least=1, most=HOURS_MAX, default=HOURS_DEFAULT)


class PageQuery(serializers.Serializer):
    """Which part of a list."""

    skip = WholeField(least=0, most=SKIP_MAX, default=0)
    limit = limit_field()


class HoursQuery(serializers.Serializer):
    hours = hours_field()


class StatusQuery(serializers.Serializer):
    """A new status in the query; the body will do as well."""

    status = TextField(max_length=20, required=False)


def page_of(rows: Any, *, skip: int, limit: int) -> Any:
    """Return that part of a query."""
    return rows[skip : skip + limit]
