"""Analyses over REST: what is kept, what is refused, and in which order it is asked."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from devices.models import Surgery
from devices.tests.builders import body_of, completed, in_progress

ClientOf = Callable[[User], APIClient]

ROOT = "/api/v1/surgeries"
MALFORMED = {"error": "JSON malformado o cuerpo de la petición inválido"}
GOOD = {"score": 85.5, "feedback": "bien"}


def post(client: APIClient, surgery_id: object, body: Any) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return client.post(f"{ROOT}/{surgery_id}/analysis", text, content_type="application/json")


def test_an_analysis_is_kept(surgeon: User, ai: User, client_of: ClientOf) -> None:
    surgery = completed(surgeon, 1)
    response = post(client_of(ai), surgery.id, GOOD)
    assert (response.status_code, response.content) == (204, b"")
    post(client_of(ai), surgery.id, {"score": 90, "feedback": "mejor"})
    surgery.refresh_from_db()
    assert (surgery.score, surgery.feedback) == (90.0, "mejor")
    assert surgery.analysed_at is not None


@pytest.mark.parametrize("score", [0, 100, 0.0, 100.0, 5e-324])
def test_the_bounds_of_a_score_belong_to_it(
    surgeon: User, ai: User, client_of: ClientOf, score: float
) -> None:
    response = post(client_of(ai), completed(surgeon, 1).id, {**GOOD, "score": score})
    assert response.status_code == 204
    assert Surgery.objects.get().score == score


REQUIRED = "El score es obligatorio"
TYPE = "El score debe ser un número"
LOW = "El score no puede ser menor a 0"
HIGH = "El score no puede ser mayor a 100"


@pytest.mark.parametrize(
    ("score", "text"),
    [
        ("-1", LOW),
        ("-1e-9", LOW),
        ("-1" + "0" * 400, LOW),
        ("100.001", HIGH),
        ("1" + "0" * 400, HIGH),
        ("1e999", TYPE),
        ("-1e999", TYPE),
        ('"85"', TYPE),
        ('"nan"', TYPE),
        ("true", TYPE),
        ("[]", TYPE),
        ("{}", TYPE),
        ("null", REQUIRED),
    ],
)
def test_a_score_that_is_none_is_refused(
    surgeon: User, ai: User, client_of: ClientOf, score: str, text: str
) -> None:
    response = post(
        client_of(ai), completed(surgeon, 1).id, f'{{"score":{score},"feedback":"bien"}}'
    )
    assert (response.status_code, body_of(response)) == (400, {"score": text})
    assert Surgery.objects.get().score is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "0x10", "1_0", "\u0665"])
def test_a_score_that_is_no_json_is_refused(
    surgeon: User, ai: User, client_of: ClientOf, number: str
) -> None:
    response = post(
        client_of(ai), completed(surgeon, 1).id, f'{{"score":{number},"feedback":"bien"}}'
    )
    assert (response.status_code, body_of(response)) == (400, MALFORMED)


@pytest.mark.parametrize("feedback", ['""', '"  \\n "', "null"])
def test_a_blank_feedback_is_refused(
    surgeon: User, ai: User, client_of: ClientOf, feedback: str
) -> None:
    response = post(client_of(ai), completed(surgeon, 1).id, f'{{"score":1,"feedback":{feedback}}}')
    assert response.status_code == 400
    assert body_of(response) == {"feedback": "El feedback es obligatorio"}


@pytest.mark.parametrize("feedback", ["1", "true", "[]", '"\\u0000"', '"\\ud800"'])
def test_a_feedback_that_is_no_text_is_refused(
    surgeon: User, ai: User, client_of: ClientOf, feedback: str
) -> None:
    response = post(client_of(ai), completed(surgeon, 1).id, f'{{"score":1,"feedback":{feedback}}}')
    assert response.status_code == 400
    assert list(body_of(response)) == ["feedback"]


def test_every_wrong_field_is_named(ai: User, client_of: ClientOf) -> None:
    response = post(client_of(ai), uuid4(), {})
    assert response.status_code == 400
    assert set(body_of(response)) == {"score", "feedback"}


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "1", "null", '"x"', "[" * 100_000, "\ufeff{}", '{"score":']
)
def test_a_body_that_is_no_object_is_refused(ai: User, client_of: ClientOf, body: str) -> None:
    response = post(client_of(ai), uuid4(), body)
    assert response.status_code == 400
    body_of(response)


def test_the_text_of_a_feedback_comes_back_as_it_was_sent(
    surgeon: User, ai: User, client_of: ClientOf
) -> None:
    surgery = completed(surgeon, 1)
    text = "  línea 1\r\n\t<b>línea 2</b> \U0001f52a \u202e "
    assert post(client_of(ai), surgery.id, {"score": 1, "feedback": text}).status_code == 204
    body = body_of(client_of(ai).get(f"{ROOT}/{surgery.id}/trajectory"))
    assert body["feedback"] == text


def test_questions_about_an_analysis_are_asked_in_order(
    surgeon: User, ai: User, client_of: ClientOf
) -> None:
    nowhere = uuid4()
    running = in_progress(surgeon, 3).surgery_id
    bad = {"score": 101, "feedback": "x"}
    assert post(APIClient(), nowhere, bad).status_code == 401
    assert post(client_of(surgeon), nowhere, bad).status_code == 403
    assert post(client_of(ai), nowhere, bad).status_code == 400
    assert post(client_of(ai), nowhere, GOOD).status_code == 404
    response = post(client_of(ai), running, GOOD)
    assert response.status_code == 409
    assert body_of(response) == {"error": "La cirugía aún no está completada."}


def test_only_those_who_judge_may_post_an_analysis(
    surgeon: User, operator: User, member: User, administrator: User, client_of: ClientOf
) -> None:
    surgery = completed(surgeon, 1)
    for user in (surgeon, operator, member):
        assert post(client_of(user), surgery.id, GOOD).status_code == 403
    assert post(client_of(administrator), surgery.id, GOOD).status_code == 204
