"""One line of the table: a figure of ours beside its baseline and its target."""

from typing import NamedTuple


class Row(NamedTuple):
    """`target` says in words what `ok` checked; a baseline of None means there is none."""

    name: str
    ours: float
    baseline: float | None
    ratio: float | None
    target: str
    unit: str
    ok: bool

    def cells(self) -> list[str]:
        """Return the cells as the table shows them."""
        return [
            self.name,
            _number(self.ours),
            _number(self.baseline),
            _number(self.ratio),
            self.unit,
            self.target,
            "yes" if self.ok else "**no**",
        ]


def beside_quiet(name: str, runs: list[tuple[float, float]], *, most: float) -> Row:
    """Return the best busy p99 beside the best quiet one; `runs` has both of each run, in µs."""
    quiet, busy = (min(p99s) for p99s in zip(*runs, strict=True))
    return Row(
        name=name,
        ours=busy / 1000,
        baseline=quiet / 1000,
        ratio=busy / quiet,
        target=f"≤ {most:g}x the quiet p99",
        unit="ms",
        ok=busy <= most * quiet,
    )


HEAD = ["figure", "ours", "baseline", "ratio", "unit", "target", "met"]


def table(rows: list[Row]) -> str:
    """Return a Markdown table."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _number(value: float | None) -> str:
    """Three significant digits, thousands apart."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
