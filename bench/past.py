"""Fills the past of one device: `python -m bench.past DEVICE READINGS`, the last ones just now."""

import sys
import time

import django

django.setup()

from django.db import connection  # noqa: E402

from devices.models import Series  # noqa: E402

METRIC = "temperature"
# All of them within a day, which is what a back-test looks at.
SPAN_US = 20 * 3_600 * 1_000_000
NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS "
    "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) ",
    "postgresql": "WITH numbers(n) AS (SELECT generate_series(1, %s)) ",
}


def main(device_id: int, count: int) -> None:
    """Insert the readings by one statement: they wander between 0 and 40."""
    series, _ = Series.objects.get_or_create(device_id=device_id, metric=METRIC, unit="°C")
    step = SPAN_US // count
    first = time.time_ns() // 1_000 - SPAN_US
    columns = "series_id, at, value, unit, received_at, is_skewed, message_id"
    select = f"SELECT %s, {first} + n * {step}, n %% 40, '°C', {first} + n * {step}, %s, ''"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO devices_reading ({columns}) "
            f"{NUMBERS[connection.vendor]} {select} FROM numbers",
            [count, series.pk, False],
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
