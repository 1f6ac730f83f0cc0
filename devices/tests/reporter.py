"""A process that reports readings until it is killed; run by `test_writer_killed.py`.

Prints one line for each reading that it was told is safe: its value.
"""

import asyncio
import sys
from datetime import timedelta

import django

django.setup()

from devices.tests.builders import NOW  # noqa: E402
from devices.tests.reports import a_report  # noqa: E402
from devices.writer import Writer  # noqa: E402

AT_ONCE = 20
SECOND = timedelta(seconds=1)


async def main(device_id: int) -> None:
    """Send readings without end, alone and together, some of them ahead of their answers."""
    writer = Writer()
    writer.start()
    for first in range(0, sys.maxsize, AT_ONCE):
        reports = [
            a_report(device_id, at=NOW + n * SECOND, message_id=f"m{n}", count=n)
            for n in range(first, first + AT_ONCE)
        ]
        alone, together = reports[::2], reports[1::2]
        answers = [*map(writer.put_report, alone), writer.put_reports(together)]
        await asyncio.gather(*answers)
        for n in range(first, first + AT_ONCE):
            print(n, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
