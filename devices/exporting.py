"""The child process that writes an export: `python -m devices.exporting`, the job on its input.

It has a database connection of its own and no Django, so that it starts in a tenth of a second
and a million rows cost the server nothing but passing bytes on. Started by `devices/export.py`.
"""

import csv
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from devices.stored import Database, connect

# One short query; about half a megabyte.
ROWS_AT_ONCE = 5_000
NICENESS = 10

# What a spreadsheet would take for the beginning of a formula. Source: OWASP, "CSV Injection".
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Format = Literal["csv", "jsonl"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to export, from where: times in microseconds, `until` not included.

    No devices, or no metrics, means all.
    """

    database: Database
    format: Format
    device_ids: list[int] | None
    metrics: list[str] | None
    since: int
    until: int


class Line(msgspec.Struct, frozen=True):
    """One reading as it is exported; the fields are the columns. Named as REST names them."""

    device_id: int
    metric_name: str
    metric_value: float
    unit: str
    timestamp: datetime
    received_at: datetime
    is_skewed: bool
    message_id: str


class Source:
    """Reads the database, whichever it is."""

    def __init__(self, database: Database) -> None:
        self._connection = connect(database)
        self._is_sqlite = isinstance(database, str)

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows; parameters are marked by `?`. Nothing stays open."""
        if not self._is_sqlite:
            sql = sql.replace("?", "%s")
        rows: list[tuple[Any, ...]] = self._connection.execute(sql, parameters).fetchall()
        return rows

    def close(self) -> None:
        self._connection.close()


def pages_of(job: Job, source: Source) -> Iterator[list[Line]]:
    """Yield the readings by device, metric and time, a page in each short query."""
    for series_id, device_id, metric in _series_of(job, source):
        after = job.since - 1
        while page := source.select(
            "SELECT at, value, unit, received_at, is_skewed, message_id FROM devices_reading"
            f" WHERE series_id = ? AND at > ? AND at < ? ORDER BY at LIMIT {ROWS_AT_ONCE}",
            (series_id, after, job.until),
        ):
            after = page[-1][0]
            yield [
                Line(device_id, metric, value, unit, _time(at), _time(received), bool(skew), id_)
                for at, value, unit, received, skew, id_ in page
            ]


def _series_of(job: Job, source: Source) -> list[tuple[int, int, str]]:
    found = source.select("SELECT id, device_id, metric FROM devices_series ORDER BY 2, 3")
    devices = None if job.device_ids is None else set(job.device_ids)
    metrics = None if job.metrics is None else set(job.metrics)
    return [
        (id_, device_id, metric)
        for id_, device_id, metric in found
        if (devices is None or device_id in devices) and (metrics is None or metric in metrics)
    ]


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def as_json_lines(pages: Iterator[list[Line]]) -> Iterator[bytes]:
    """Yield one JSON object on each line."""
    encoder = msgspec.json.Encoder()
    for page in pages:
        yield encoder.encode_lines(page)


def as_csv(pages: Iterator[list[Line]]) -> Iterator[bytes]:
    """Yield a head line and one line for each reading; no text is taken for a formula."""
    yield _csv([Line.__struct_fields__])
    for page in pages:
        yield _csv(
            (
                line.device_id,
                harmless(line.metric_name),
                line.metric_value,
                harmless(line.unit),
                line.timestamp.isoformat(),
                line.received_at.isoformat(),
                int(line.is_skewed),
                harmless(line.message_id),
            )
            for line in page
        )


def harmless(text: str) -> str:
    """Return `text` such that a spreadsheet shows it and does not compute it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _csv(rows: Any) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


FORMATS: dict[str, Callable[[Iterator[list[Line]]], Iterator[bytes]]] = {
    "csv": as_csv,
    "jsonl": as_json_lines,
}


def main() -> None:
    """Write what the job on standard input asks for; end when nobody reads on."""
    os.nice(NICENESS)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        with closing(Source(job.database)) as source:
            for piece in FORMATS[job.format](pages_of(job, source)):
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The server has gone, or its client has; there is nobody to tell.
        os._exit(0)


if __name__ == "__main__":
    main()
