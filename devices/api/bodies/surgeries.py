"""The REST bodies of operations, with the document's names and texts."""

import math
from typing import Any

from rest_framework import serializers

from devices.api.bodies.common import NaiveUtcField
from devices.models import Surgery

SIZE_DEFAULT = 50
SIZE_MAX = 200
PAGE_MAX = 1_000_000
FEEDBACK_MAX = 100_000

STATUS_UNKNOWN = "El status debe ser in_progress, completed o interrupted"
PAGE_WRONG = f"La página debe ser un número entero de 1 a {PAGE_MAX}"
SIZE_WRONG = f"El tamaño debe ser un número entero de 1 a {SIZE_MAX}"
SURGEON_WRONG = "El cirujano debe ser un username o un UUID"
SCORE_REQUIRED = "El score es obligatorio"
SCORE_TYPE = "El score debe ser un número"
SCORE_LOW = "El score no puede ser menor a 0"
SCORE_HIGH = "El score no puede ser mayor a 100"
FEEDBACK_REQUIRED = "El feedback es obligatorio"
FEEDBACK_TYPE = "El feedback debe ser un texto"
FEEDBACK_LENGTH = f"El feedback no puede superar {FEEDBACK_MAX} caracteres"
FEEDBACK_CHARACTERS = "El feedback contiene caracteres no válidos"


class WholeNumberField(serializers.IntegerField):
    """Digits only: `int()` would also take `1_0`, `+1` and the digits of other scripts."""

    def __init__(self, *, wrong: str, **kwargs: Any) -> None:
        names = ("invalid", "min_value", "max_value", "max_string_length")
        super().__init__(error_messages=dict.fromkeys(names, wrong), **kwargs)

    def to_internal_value(self, data: Any) -> int:
        if not (isinstance(data, str) and data.isascii() and data.isdigit()):
            self.fail("invalid")
        return super().to_internal_value(data)


class ScoreField(serializers.FloatField):
    """A finite JSON number from 0 to 100."""

    def __init__(self, **kwargs: Any) -> None:
        texts = {
            "required": SCORE_REQUIRED,
            "null": SCORE_REQUIRED,
            "invalid": SCORE_TYPE,
            "min_value": SCORE_LOW,
            "max_value": SCORE_HIGH,
        }
        super().__init__(min_value=0, max_value=100, error_messages=texts, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        if isinstance(data, int):
            # A number of 400 digits is no float; out of range it is as well.
            data = min(max(data, -1), 101)
        if not math.isfinite(data):
            self.fail("invalid")
        return float(data)


class FeedbackField(serializers.CharField):
    """A text with something in it, kept as it was sent."""

    def __init__(self, **kwargs: Any) -> None:
        texts = {
            "required": FEEDBACK_REQUIRED,
            "null": FEEDBACK_REQUIRED,
            "blank": FEEDBACK_REQUIRED,
            "invalid": FEEDBACK_TYPE,
            "max_length": FEEDBACK_LENGTH,
            "surrogate_characters_not_allowed": FEEDBACK_CHARACTERS,
            "null_characters_not_allowed": FEEDBACK_CHARACTERS,
        }
        super().__init__(
            max_length=FEEDBACK_MAX, trim_whitespace=False, error_messages=texts, **kwargs
        )

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str) and not data.strip():
            self.fail("blank")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class AnalysisSerializer(serializers.Serializer):
    """What an AI service posts."""

    score = ScoreField()
    feedback = FeedbackField()


class SurgeryFilterSerializer(serializers.Serializer):
    """The query of the list; an empty parameter counts as absent."""

    status = serializers.ChoiceField(
        Surgery.Status.choices,
        required=False,
        error_messages={"invalid_choice": STATUS_UNKNOWN},
    )
    surgeon = serializers.CharField(
        required=False,
        max_length=150,
        trim_whitespace=False,
        help_text="Username, or UUID.",
        error_messages={"max_length": SURGEON_WRONG},
    )
    page = WholeNumberField(wrong=PAGE_WRONG, min_value=1, max_value=PAGE_MAX, default=1)
    size = WholeNumberField(wrong=SIZE_WRONG, min_value=1, max_value=SIZE_MAX, default=SIZE_DEFAULT)

    def validate_surgeon(self, value: str) -> str:
        if not value.isprintable():
            raise serializers.ValidationError(SURGEON_WRONG)
        return value


class SurgerySerializer(serializers.Serializer):
    """One operation as the list shows it. Times are UTC, written without a zone."""

    surgeryId = serializers.UUIDField(source="id")
    surgeonId = serializers.UUIDField(source="surgeon_id")
    surgeon = serializers.CharField(source="surgeon.username")
    status = serializers.ChoiceField(Surgery.Status.choices)
    startTime = NaiveUtcField(source="started_at")
    endTime = NaiveUtcField(source="ended_at", allow_null=True)
    durationInSeconds = serializers.IntegerField(source="duration_seconds", allow_null=True)
    movements = serializers.IntegerField(source="movements_now")
    score = serializers.FloatField(allow_null=True)


class SurgeryPageSerializer(serializers.Serializer):
    """A page of the list; `total` counts all that match."""

    items = SurgerySerializer(many=True)
    page = serializers.IntegerField()
    size = serializers.IntegerField()
    total = serializers.IntegerField()


class MovementSerializer(serializers.Serializer):
    """One frame, as the simulator sent it."""

    coordinates = serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=3)
    event = serializers.CharField()
    timestamp = serializers.IntegerField(help_text="Milliseconds since 1970, client's clock.")


class TrajectorySerializer(serializers.Serializer):
    """A whole operation. `endTime` is null until it ends, the last two until it is analysed."""

    surgeryId = serializers.UUIDField()
    startTime = NaiveUtcField()
    endTime = NaiveUtcField(allow_null=True)
    movements = MovementSerializer(many=True)
    score = serializers.FloatField(allow_null=True)
    feedback = serializers.CharField(allow_null=True)


class MetricsSerializer(serializers.Serializer):
    """See `devices/scoring.py` for definitions; null stands for "undefined"."""

    surgeryId = serializers.UUIDField()
    points = serializers.IntegerField()
    durationSeconds = serializers.FloatField()
    pathLength = serializers.FloatField(allow_null=True)
    economy = serializers.FloatField(allow_null=True)
    meanSpeed = serializers.FloatField(allow_null=True)
    maxAcceleration = serializers.FloatField(allow_null=True)
    meanJerk = serializers.FloatField(allow_null=True)
    meanDeviation = serializers.FloatField(allow_null=True)
    precision = serializers.FloatField(allow_null=True)
    idleSeconds = serializers.FloatField()
    sparc = serializers.FloatField(allow_null=True)
    logDimensionlessJerk = serializers.FloatField(allow_null=True)
    tumorRemovals = serializers.IntegerField()
    tumorProgress = serializers.FloatField()
    hemorrhages = serializers.IntegerField()
    kidneyTouches = serializers.IntegerField()
    tumorTouches = serializers.IntegerField()
    riskQuadrants = serializers.ListField(child=serializers.CharField())
    score = serializers.FloatField(help_text="The reference score, not the AI's.")
    label = serializers.CharField()
