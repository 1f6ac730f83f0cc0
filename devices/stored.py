"""Stored readings for a child process: plain SQL, so that it need not load Django.

A million rows read in the server would slow every socket, even if something else then looked
at them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

# The path of an SQLite file, or how to connect to PostgreSQL.
Database = str | dict[str, str | int]
# When it was measured, when we received it, and the value.
Reading = tuple[datetime, datetime, float]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ROWS_AT_ONCE = 2_000

# In the order in which they came: what was late then is late now.
_READINGS = """
SELECT at, received_at, value FROM devices_reading
WHERE series_id = {0} AND at >= {0} AND at < {0} ORDER BY received_at, id
"""


def connect(database: Database) -> Any:
    """Return a connection in autocommit mode, for reading."""
    if isinstance(database, str):
        connection = sqlite3.connect(database, timeout=20, isolation_level=None)
        connection.execute("PRAGMA query_only = 1")
        return connection
    return psycopg.connect(**database, autocommit=True)


class Stored:
    """The readings of an open database. To be closed."""

    def __init__(self, database: Database) -> None:
        self._is_sqlite = isinstance(database, str)
        self._connection = connect(database)

    def close(self) -> None:
        self._connection.close()

    def readings(self, series_id: int, *, since: datetime, until: datetime) -> Iterator[Reading]:
        """Yield a series' readings of that time, in the order in which they came.

        One statement for each: a series is seen as it is when its turn comes.
        """
        limits = (series_id, (since - EPOCH) // MICROSECOND, (until - EPOCH) // MICROSECOND)
        with self._transaction(), closing(self._cursor()) as cursor:
            cursor.execute(_READINGS.format("?" if self._is_sqlite else "%s"), limits)
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                for at, received_at, value in rows:
                    yield _moment(at), _moment(received_at), value

    # A name keeps the result with PostgreSQL: a client would hold all of it in memory. It lasts
    # for a transaction.

    def _transaction(self) -> Any:
        return nullcontext() if self._is_sqlite else self._connection.transaction()

    def _cursor(self) -> Any:
        return self._connection.cursor() if self._is_sqlite else self._connection.cursor("readings")


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
