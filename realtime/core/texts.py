"""What text from outside may hold: no NUL, no control characters, no JSON without a floor."""

import re
from typing import Any

from realtime.core.errors import Invalid
from realtime.core.problems import place_of

NESTED_MAX = 32

_control = re.compile("[\x00-\x1f\x7f-\x9f]").search
# Free text has lines.
_unprintable = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]").search


def check_text(text: str, field: str) -> None:
    """Raises Invalid for NUL and every other control character."""
    if _control(text):
        raise Invalid(f"{field}: no NUL and no control characters", field=field)


def check_free(value: Any, field: str) -> None:
    """Look through any JSON value: lines and tabs are allowed, NUL is not. Raises Invalid."""
    place = place_of(value, lambda item: isinstance(item, str) and bool(_unprintable(item)), field)
    if place:
        raise Invalid(f"{place}: no NUL and no control characters", field=place)
    layer = [value]
    for _ in range(NESTED_MAX):
        layer = [item for each in layer for item in _items_of(each)]
        if not layer:
            return
    raise Invalid(f"{field}: at most {NESTED_MAX} levels", field=field)


def _items_of(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
