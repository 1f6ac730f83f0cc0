"""Fields that refuse what a database or a JSON client cannot hold, in this API's own words.

What they fail with are the types and texts that clients of this API know: see `errors.py`.
"""

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

ID_MAX = 2**63 - 1
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
INTEGER = re.compile(r"\A[+-]?[0-9]{1,30}\Z", re.ASCII)
# `float()` would also take `1_0`, and the digits of other scripts.
NUMBER = re.compile(r"\A\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*\Z", re.I | re.ASCII)
NO_NUMBER = re.compile(r"\A\s*[+-]?(nan|inf|infinity)\s*\Z", re.I | re.ASCII)
NUMBER_LENGTH_MAX = 100
# Above this a number is a time in milliseconds, below in seconds: 1970 and the year 2603.
MILLISECONDS_FROM = 2e10
TIME_MIN = datetime(1970, 1, 1, tzinfo=UTC)
TIME_MAX = datetime(9999, 1, 1, tzinfo=UTC)
UNESCAPED_ZONE = re.compile(r"(?<=[0-9]) ([0-9]{2}:?[0-9]{2})\Z", re.ASCII)
OBJECT_BYTES_MAX = 8 * 1024
OBJECT_DEPTH_MAX = 16

TEXTS = {
    "missing": "Field required",
    "string_type": "Input should be a valid string",
    "string_too_short": "String should have at least {min_length} character",
    "string_too_long": "String should have at most {max_length} characters",
    "string_control_characters": "Input should contain no control characters",
    "int_type": "Input should be a valid integer",
    "int_parsing": "Input should be a valid integer, unable to parse string as an integer",
    "float_type": "Input should be a valid number",
    "float_parsing": "Input should be a valid number, unable to parse string as a number",
    "finite_number": "Input should be a finite number",
    "bool_parsing": "Input should be a valid boolean, unable to interpret input",
    "greater_than_equal": "Input should be greater than or equal to {min_value}",
    "less_than_equal": "Input should be less than or equal to {max_value}",
    "datetime_parsing": "Input should be a valid datetime: ISO 8601, or seconds since 1970",
    "datetime_range": "Input should be a time from 1970 to 9998",
    "enum": "Input should be {expected}",
    "dict_type": "Input should be a valid dictionary",
    "dict_too_long": "Dictionary should have at most {bytes} bytes of JSON",
    "dict_too_deep": "Dictionary should be nested at most {depth} deep",
    "list_type": "Input should be a valid list",
    "too_short": "List should have at least {min_length} item",
    "too_long": "List should have at most {max_length} items",
}


def has_control_characters(text: str, *, may_have_lines: bool = False) -> bool:
    """Tell whether `text` holds NUL, another control character, or half a character."""
    return bool((CONTROL_BUT_LINES if may_have_lines else CONTROL).search(text))


class _Worded(serializers.Field):
    """A field whose failures are named and worded by TEXTS; null has the wrong type."""

    null_is = ""
    default_error_messages = {**TEXTS, "required": TEXTS["missing"]}

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data is None and not self.allow_null:
            self.fail(self.null_is)
        return super().run_validation(data)


class TextField(_Worded, serializers.CharField):
    """A text as it was sent, without control characters; lines only where `is_long`."""

    null_is = "string_type"

    def __init__(
        self, *, max_length: int, min_length: int = 0, is_long: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(allow_blank=not min_length, trim_whitespace=False, **kwargs)
        # Read by the API's description, checked below: the validators' codes are others.
        self.max_length = max_length
        self.min_length = min_length or None
        self._is_long = is_long

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if self.min_length and isinstance(data, str) and not data.strip():
            self.fail("string_too_short", min_length=self.min_length)
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("string_type")
        if len(data) > self.max_length:
            self.fail("string_too_long", max_length=self.max_length)
        if has_control_characters(data, may_have_lines=self._is_long):
            self.fail("string_control_characters")
        return data


class NumberField(_Worded, serializers.FloatField):
    """A finite number; a text that is one will do."""

    null_is = "float_type"

    def __init__(self, *, least: float | None = None, most: float | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.least, self.most = least, most

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, str):
            self._check_text(data)
        elif isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("float_type")
        try:
            number = float(data)
        except OverflowError:
            # An integer of 400 digits.
            self.fail("finite_number")
        if not math.isfinite(number):
            self.fail("finite_number")
        if self.least is not None and number < self.least:
            self.fail("greater_than_equal", min_value=self.least)
        if self.most is not None and number > self.most:
            self.fail("less_than_equal", max_value=self.most)
        return number

    def _check_text(self, text: str) -> None:
        if len(text) <= NUMBER_LENGTH_MAX and NO_NUMBER.match(text):
            self.fail("finite_number")
        if len(text) > NUMBER_LENGTH_MAX or not NUMBER.match(text):
            self.fail("float_parsing")


class WholeField(_Worded, serializers.IntegerField):
    """A whole number between two bounds; digits as text will do."""

    null_is = "int_type"

    def __init__(self, *, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least, self.most = least, most

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str):
            if not INTEGER.match(data):
                self.fail("int_parsing")
        elif isinstance(data, bool) or not isinstance(data, int):
            self.fail("int_type")
        number = int(data)
        if number < self.least:
            self.fail("greater_than_equal", min_value=self.least)
        if number > self.most:
            self.fail("less_than_equal", max_value=self.most)
        return number


def id_field(**kwargs: Any) -> WholeField:
    """A field for the number of a row, which may or may not exist."""
    return WholeField(least=1, most=ID_MAX, **kwargs)


class FlagField(_Worded, serializers.BooleanField):
    """True or false, and the texts that mean so in a query."""

    null_is = "bool_parsing"

    def to_internal_value(self, data: Any) -> bool:
        word = data.lower() if isinstance(data, str) else data
        is_yes = word is True or word in ("true", "1", "yes", "on")
        if not is_yes and word is not False and word not in ("false", "0", "no", "off"):
            self.fail("bool_parsing")
        return is_yes


class OneOfField(_Worded, serializers.ChoiceField):
    """One of a few words."""

    null_is = "enum"

    def fail(self, key: str, **kwargs: Any) -> None:
        *others, last = (f"'{word}'" for word in self.choices)
        super().fail(key, expected=f"{', '.join(others)} or {last}", **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("enum")
        return data


class TimeField(_Worded, serializers.DateTimeField):
    """A moment, aware UTC: ISO 8601 (UTC if it names no zone), or seconds or ms since 1970."""

    null_is = "datetime_parsing"

    def to_internal_value(self, data: Any) -> datetime:
        try:
            moment = moment_of(data)
        except (ValueError, OverflowError, OSError, TypeError):
            self.fail("datetime_parsing")
        if not TIME_MIN <= moment < TIME_MAX:
            self.fail("datetime_range")
        return moment


def moment_of(data: Any) -> datetime:
    """Return the time that `data` says. Raises ValueError and its like for what says none."""
    if isinstance(data, bool):
        raise TypeError
    if isinstance(data, int | float):
        seconds = data / 1000 if abs(data) > MILLISECONDS_FROM else data
        return datetime.fromtimestamp(seconds, UTC)
    if len(data) > NUMBER_LENGTH_MAX:
        raise ValueError
    # A plus sign that nobody escaped is a space in a query.
    moment = datetime.fromisoformat(UNESCAPED_ZONE.sub(r"+\1", data))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class ObjectField(_Worded, serializers.DictField):
    """A JSON object of bounded size that both databases can store."""

    null_is = "dict_type"

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("dict_type")
        self._check(data, OBJECT_DEPTH_MAX)
        if len(json.dumps(data, ensure_ascii=False).encode()) > OBJECT_BYTES_MAX:
            self.fail("dict_too_long", bytes=OBJECT_BYTES_MAX)
        return data

    def _check(self, value: Any, depth: int) -> None:
        """Refuse what a JSON column refuses, wherever it hides."""
        if depth < 0:
            self.fail("dict_too_deep", depth=OBJECT_DEPTH_MAX)
        if isinstance(value, str) and has_control_characters(value, may_have_lines=True):
            self.fail("string_control_characters")
        if isinstance(value, float) and not math.isfinite(value):
            self.fail("finite_number")
        if isinstance(value, dict):
            for key, inner in value.items():
                self._check(key, depth)
                self._check(inner, depth - 1)
        if isinstance(value, list):
            for inner in value:
                self._check(inner, depth - 1)
