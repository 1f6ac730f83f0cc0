"""The reference score, its published vectors, and every odd trajectory. No database."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.scoring import assess, metrics_of
from devices.tests.test_trajectory import any_movement
from devices.trajectory import Movement, encode_movements
from realtime.core.errors import Invalid


def at(x: float, y: float, z: float, timestamp: int, event: str = "NONE") -> Movement:
    return Movement([x, y, z], event, timestamp)


A = [
    at(0, 0, 0, 1000, "START"),
    at(3, 0, 0, 2000),
    at(3, 4, 0, 3000),
    at(3, 4, 0, 4000, "FINISH"),
]
B = [
    at(0, 0, 0, 1000, "START"),
    at(1, 2, 0, 1500, "HEMORRHAGE"),
    at(2, 0, 0, 2000, "KIDNEY_TOUCH"),
    at(3, 2, 0, 2500, "KIDNEY_TOUCH"),
    *(at(4, 0, 0, 3000 + 10 * n, "TUMOR_REMOVAL") for n in range(10)),
    at(4, 0, 0, 4000, "FINISH"),
]
C = [at(0, 0, 0, 1000), at(1, 1, 1, 2000, "TUMOR_REMOVAL"), at(0, 0, 0, 3000)]
E = [at(1, 1, 1, 1000, "FINISH")]
F = [
    at(0, 0, 0, 1000, "START"),
    *(at(n, 0, 0, 1000 + 100 * n, "HEMORRHAGE") for n in range(1, 6)),
    at(6, 0, 0, 2000, "FINISH"),
]
G = [
    at(0, 0, 0, 1000, "START"),
    *(at(n, 0, 0, 1000 + 100 * n, "KIDNEY_TOUCH") for n in range(1, 5)),
    at(6, 0, 0, 2000, "FINISH"),
]

# economy, mean speed, max acceleration, mean jerk, path, duration, mean deviation, precision
VECTORS = {
    "A": (A, (1.4, 1.75, 4.0, 3.5, 7.0, 3.0, 0.6, 94.0), 100),
    "B": (B, (2.2361, 1.1926, 447.2136, 6881.5852, 8.9443, 3.0, 0.2667, 97.3333), 55),
    "C": (C, (1.0, 1.1547, 1.7321, 1.7321, 3.4641, 2.0, 0.5774, 94.2265), 100),
    "E": (E, (1.0, 0.0, None, None, 0.0, 0.0, 0.0, 100.0), 100),
    "F": (F, (1.0, 7.4286, 100.0, 206.4, 6.0, 1.0, 0.0, 100.0), 0),
    "G": (G, (1.0, 7.2222, 100.0, 254.6296, 6.0, 1.0, 0.0, 100.0), 80),
}
QUADRANTS = {
    "A": [],
    "B": ["Sup-Izq", "Inf-Izq", "Sup-Der"],
    "C": [],
    "F": ["Inf-Izq", "Inf-Der"],
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_reference_pipeline_is_reproduced(name: str) -> None:
    movements, expected, score = VECTORS[name]
    assessment = assess(movements)
    dexterity = assessment.dexterity
    found = (
        dexterity.economy,
        dexterity.mean_speed,
        dexterity.max_acceleration,
        dexterity.mean_jerk,
        dexterity.path_length,
        dexterity.duration_seconds,
        dexterity.mean_deviation,
        dexterity.precision,
    )
    assert found == pytest.approx(expected, abs=5e-5)
    assert assessment.score == score


@pytest.mark.parametrize("name", QUADRANTS)
def test_the_quadrants_of_harm_are_named_in_order_of_appearance(name: str) -> None:
    assert assess(VECTORS[name][0]).risk.risk_quadrants == QUADRANTS[name]


def test_movements_are_put_in_the_order_of_their_time() -> None:
    assert assess(list(reversed(B))) == assess(B)


def test_two_coordinates_mean_a_plane() -> None:
    flat = [Movement(m.coordinates[:2], m.event, m.timestamp) for m in A]
    assert assess(flat) == assess(A)


def test_the_objects_of_the_rest_answer_will_do() -> None:
    objects = json.loads(encode_movements(B))
    assert assess(objects) == assess(B)


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(Invalid):
        assess([])
    with pytest.raises(Invalid):
        metrics_of([])


def test_a_detour_costs_ten_points() -> None:
    there_and_back = [at(0, 0, 0, 1000), at(10, 0, 0, 2000), at(1, 0, 0, 3000)]
    assert assess(there_and_back).score == 90


def test_many_points_at_the_same_moment_have_no_speed() -> None:
    dexterity = assess([at(n, 0, 0, 1000) for n in range(50)]).dexterity
    assert (dexterity.mean_speed, dexterity.max_acceleration, dexterity.mean_jerk) == (0, 0, 0)
    assert dexterity.path_length == 49
    assert (dexterity.sparc, dexterity.log_dimensionless_jerk) == (None, None)


def test_idle_time_is_when_next_to_nothing_moves() -> None:
    seconds = range(21)
    places = [min(n, 5) + max(0, n - 15) for n in seconds]
    movements = [at(x, 0, 0, 1000 + 1000 * n) for n, x in zip(seconds, places, strict=True)]
    assert assess(movements).dexterity.idle_seconds == 10


def test_whoever_does_not_move_at_all_is_idle_all_the_time() -> None:
    dexterity = assess([at(1, 1, 1, 1000 + 1000 * n) for n in range(11)]).dexterity
    assert (dexterity.idle_seconds, dexterity.economy) == (10, 1)
    assert dexterity.sparc is None


def test_tremor_makes_a_reach_less_smooth() -> None:
    steady, shaky = ([], [])
    for n in range(121):
        share = n / 120
        x = 10 * share**3 * (10 - 15 * share + 6 * share**2)
        steady.append(at(x, 0, 0, 1000 + 16 * n))
        shaky.append(at(x, 0.2 * math.sin(2 * math.pi * 8 * n * 0.016), 0, 1000 + 16 * n))
    smooth, rough = assess(steady).dexterity, assess(shaky).dexterity
    assert smooth.sparc > rough.sparc
    assert smooth.log_dimensionless_jerk > rough.log_dimensionless_jerk


def test_metrics_are_computed_from_the_stored_chunks() -> None:
    payloads = [encode_movements(B[:5]), encode_movements(B[5:])]
    metrics = metrics_of(payloads)
    assert metrics["economy"] == pytest.approx(2.2361, abs=5e-5)
    assert (metrics["score"], metrics["label"], metrics["hemorrhages"]) == (55, "DEFICIENTE", 1)
    assert metrics["points"] == len(B)


@settings(max_examples=150, deadline=None)
@given(st.lists(any_movement, min_size=1, max_size=40))
def test_any_valid_trajectory_gives_json_numbers(movements: list[Movement]) -> None:
    metrics = metrics_of([encode_movements(movements)])
    json.dumps(metrics, allow_nan=False)
    assert 0 <= metrics["score"] <= 100
    assert "nan" not in assess(movements).feedback


def test_an_hour_at_display_rate_takes_seconds_at_most() -> None:
    randoms = np.random.default_rng(1).normal(size=(200_000, 3)).cumsum(axis=0)
    movements = [at(*point, 1000 + 17 * n) for n, point in enumerate(randoms.tolist())]
    metrics: dict[str, Any] = metrics_of([encode_movements(movements)])
    assert metrics["points"] == 200_000
    assert metrics["sparc"] < 0


# --- the text -------------------------------------------------------------------------


def test_the_first_line_carries_the_verdict() -> None:
    assert assess(A).feedback.splitlines()[0] == "🏆 EXCELENTE | Score: 100.0/100"
    assert assess(B).feedback.splitlines()[0] == "❌ DEFICIENTE | Score: 55.0/100"


@pytest.mark.parametrize(
    ("kidney_touches", "label"),
    [(2, "EXCELENTE"), (3, "BUENO"), (5, "BUENO"), (6, "MEJORABLE"), (8, "MEJORABLE"),
     (9, "DEFICIENTE")],
)  # fmt: skip
def test_labels_begin_where_the_reference_says(kidney_touches: int, label: str) -> None:
    movements = [at(n, 0, 0, 1000 + n, "KIDNEY_TOUCH") for n in range(kidney_touches)]
    assert assess(movements).label == label


def test_the_sections_hold_what_old_clients_look_for() -> None:
    movements = [
        at(0, 0, 0, 1000, "START"),
        *(at(1, 1, 0, 2000 + n, "TUMOR_REMOVAL") for n in range(25)),
        *(at(2, 2, 0, 3000 + n, "KIDNEY_TOUCH") for n in range(5)),
        at(3, 3, 0, 4000, "FINISH"),
    ]
    text = assess(movements).feedback
    for words in (
        "ALERTAS CRÍTICAS",
        "MÉTRICAS DE DESTREZA",
        "ESTADÍSTICAS",
        "RECOMENDACIONES",
        "Remoción Tumor: 100.0%",
        "Lesión Tejido Sano: 5",
        "(ideal < 1.2)",
    ):
        assert words in text


def test_recommendations_are_given_for_a_reason_only() -> None:
    clean = [*A[:1], *(at(3, 0, 0, 2000 + n, "TUMOR_REMOVAL") for n in range(25)), *A[2:]]
    assert "RECOMENDACIONES" not in assess(clean).feedback
    advice = assess(B).feedback.split("RECOMENDACIONES")[1].strip().splitlines()
    # Bleeding, a detour, most of the tumour left; two touches are not too many.
    assert len(advice) == 3
