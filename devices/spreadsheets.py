"""Cells that a spreadsheet does not take for a formula, and back. Standard library only."""

MARK = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def disarm(cell: object) -> object:
    """Return the cell with a quote before it where a spreadsheet would calculate.

    Numbers stay as they are, so that they can be calculated with; `rearm` undoes it.
    """
    if not isinstance(cell, str) or _is_number(cell):
        return cell
    return f"{MARK}{cell}" if _is_risky(cell) else cell


def rearm(cell: object) -> object:
    """Return what was given to `disarm`."""
    if isinstance(cell, str) and cell.startswith(MARK) and _is_risky(cell[1:]):
        return cell[1:]
    return cell


def _is_risky(text: str) -> bool:
    """Tell whether a formula begins here, behind any number of quotes."""
    return text.lstrip(MARK).lstrip(" ").startswith(_FORMULA)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
