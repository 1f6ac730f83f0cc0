"""Measure and print a Markdown table: `python -m bench [--seconds N] [--only NAME …]`."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import (
    announcing,
    broadcasting,
    busy,
    deflate,
    exporting,
    fanout,
    ingest,
    matching,
    memory,
    neighbours,
    recovering,
    rules,
    stalled,
    storing,
)
from bench.env import Environment, build_load
from bench.row import Row, table

# One module per figure, each with a `measure(env)`; a new figure is a module and a line here.
FIGURES = {
    "fanout": fanout.measure,
    "deflate": deflate.measure,
    "storing": storing.measure,
    "ingest": ingest.measure,
    "memory": memory.measure,
    "announcing": announcing.measure,
    "stalled": stalled.measure,
    "neighbours": neighbours.measure,
    "busy": busy.measure,
    "rules": rules.measure,
    "exporting": exporting.measure,
    "broadcasting": broadcasting.measure,
    "matching": matching.measure,
    "recovering": recovering.measure,
}


def main() -> int:
    """Return 0 when every target is met."""
    options = _parse_arguments()
    build_load()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        env = Environment(
            Path(folder),
            database_url=options.database,
            seconds=options.seconds,
            best_of=options.best_of,
        )
        for name in options.only or FIGURES:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            rows += FIGURES[name](env)
    print(table(rows))
    return 0 if all(row.ok for row in rows) else 1


def _parse_arguments() -> argparse.Namespace:
    given = os.environ.get("DATABASE_URL", "")
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a flood")
    parser.add_argument("--best-of", type=int, default=3, help="times that each is measured")
    parser.add_argument("--only", nargs="+", choices=FIGURES, help="these figures only")
    parser.add_argument(
        "--database",
        default=given if given.startswith("postgres") else "",
        help="postgres://… to create databases on; default: DATABASE_URL, else SQLite files",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
