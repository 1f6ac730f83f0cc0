"""What a stored file may be called: a name that is safe to show, to send and to save anywhere.

Names never become paths here; whoever downloads a file saves it under its name, on any system.
"""

import unicodedata
from typing import Final
from urllib.parse import unquote

from realtime.core.errors import Invalid

NAME_BYTES: Final = 255
SEPARATORS: Final = "/\\"
# What Windows refuses in a name: a drive, a stream, a wildcard, a redirection.
REFUSED: Final = frozenset('<>:"|?*')
# Windows opens a device for these, whatever comes after a dot.
DEVICES: Final = frozenset(
    {
        "CON",
        "PRN",
        "AUX",
        "NUL",
        "CLOCK$",
        "CONIN$",
        "CONOUT$",
        *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10)),
    }
)
UNQUOTED_MOST: Final = 4


def check_name(name: str, *, field: str = "name") -> str:
    """Return the name as it is stored: in Unicode's composed form (NFC). Raises Invalid."""
    name = unicodedata.normalize("NFC", name)
    # Compatibility characters too: a full-width slash is one where the name is converted.
    problem = _problem_of(name) or _problem_of(unicodedata.normalize("NFKC", name))
    if problem is None and _hides_path(name):
        problem = "has no path in it, escaped or not"
    if problem is not None:
        raise Invalid(f"a file's name {problem}", field=field)
    return name


def _problem_of(name: str) -> str | None:
    """Return how a name should be; None when it is."""
    if not name:
        return "is not empty"
    if any(separator in name for separator in SEPARATORS):
        return "has no path in it"
    if not name.isprintable():
        return "has printable characters only"
    if len(name.encode()) > NAME_BYTES:
        return f"has at most {NAME_BYTES} bytes of UTF-8"
    if name != name.strip() or name.endswith("."):
        return "has no space around it and no dot at its end"
    if name.startswith("."):
        return "does not begin with a dot"
    if not REFUSED.isdisjoint(name):
        return f"has none of {' '.join(sorted(REFUSED))}"
    if name.partition(".")[0].rstrip().upper() in DEVICES:
        return "is not that of a device"
    return None


def _hides_path(name: str) -> bool:
    """Tell whether a path appears where somebody decodes the name as part of a URL."""
    for _ in range(UNQUOTED_MOST):
        decoded = unquote(name)
        if decoded == name:
            return False
        if not decoded.isprintable() or any(each in decoded for each in SEPARATORS):
            return True
        if decoded.strip(". ") == "":
            return True
        name = decoded
    return True
