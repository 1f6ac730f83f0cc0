"""Operations over REST: bodies, codes and texts, what is refused and in which order."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tokens import issue_access
from devices.services.surgeries import record_analysis
from devices.tests.builders import (
    NOW,
    body_of,
    completed,
    in_progress,
    interrupted,
    movements,
    parts_of,
    start,
)
from realtime.core.apart import stop_apart

ClientOf = Callable[[User], APIClient]

ROOT = "/api/v1/surgeries"
NOWHERE = "550e8400-e29b-41d4-a716-446655440000"
BAD_TOKEN = {"error": "Token de autenticación inválido"}
MALFORMED = {"error": "JSON malformado o cuerpo de la petición inválido"}


# --- trajectory -----------------------------------------------------------------------


def test_a_trajectory_has_the_documents_keys_in_its_order(
    surgeon: User, client_of: ClientOf
) -> None:
    surgery = completed(surgeon, 3, 2)
    response = client_of(surgeon).get(f"{ROOT}/{surgery.id}/trajectory")
    assert response.status_code == 200
    body = body_of(response)
    assert list(body) == ["surgeryId", "startTime", "endTime", "movements", "score", "feedback"]
    assert body["surgeryId"] == str(surgery.id)
    assert body["startTime"] == "2026-03-05T10:30:00.123456"
    assert body["endTime"] == "2026-03-05T10:31:10.623456"
    assert [m["timestamp"] for m in body["movements"]] == [m.timestamp for m in movements(5)]
    assert list(body["movements"][0]) == ["coordinates", "event", "timestamp"]
    assert (body["score"], body["feedback"]) == (None, None)


def test_a_trajectory_shows_the_analysis(surgeon: User, client_of: ClientOf) -> None:
    surgery = completed(surgeon, 1)
    record_analysis(surgery_id=surgery.id, score=85.5, feedback="«bien»\n✅", now=NOW)
    body = body_of(client_of(surgeon).get(f"{ROOT}/{surgery.id}/trajectory"))
    assert (body["score"], body["feedback"]) == (85.5, "«bien»\n✅")


def test_a_trajectory_is_served_before_the_end(surgeon: User, client_of: ClientOf) -> None:
    for surgery_id in (in_progress(surgeon, 3).surgery_id, interrupted(surgeon, 3).id):
        body = body_of(client_of(surgeon).get(f"{ROOT}/{surgery_id}/trajectory"))
        assert (body["endTime"], len(body["movements"])) == (None, 3)


def test_a_trajectory_without_movements_is_an_empty_list(
    surgeon: User, client_of: ClientOf
) -> None:
    body = body_of(client_of(surgeon).get(f"{ROOT}/{start(surgeon).surgery_id}/trajectory"))
    assert body["movements"] == []


def test_a_long_trajectory_is_streamed_as_it_is_stored(surgeon: User, client_of: ClientOf) -> None:
    surgery = completed(surgeon, *[2] * 150)
    response = client_of(surgeon).get(f"{ROOT}/{surgery.id}/trajectory/")
    parts = list(response.streaming_content)
    # Three pages of 64, each with what stands around it; never the whole in one piece.
    assert len(parts) > 3
    assert len(json.loads(b"".join(parts))["movements"]) == 300


@pytest.mark.django_db(transaction=True)
async def test_a_trajectory_is_streamed_under_asgi_too(surgeon: User) -> None:
    surgery = await sync_to_async(completed)(surgeon, *[2] * 150)
    token = issue_access(surgeon)
    response = await AsyncClient().get(
        f"{ROOT}/{surgery.id}/trajectory", headers={"Authorization": f"Bearer {token}"}
    )
    parts = await parts_of(response)
    assert len(parts) > 3
    assert len(json.loads(b"".join(parts))["movements"]) == 300


def test_who_may_read_a_trajectory(
    surgeon: User,
    other_surgeon: User,
    ai: User,
    operator: User,
    administrator: User,
    member: User,
    client_of: ClientOf,
) -> None:
    url = f"{ROOT}/{completed(surgeon, 1).id}/trajectory"
    for user in (surgeon, ai, operator, administrator):
        assert client_of(user).get(url).status_code == 200
    for user in (other_surgeon, member):
        response = client_of(user).get(url)
        assert response.status_code == 403
        assert body_of(response) == {"error": "No tienes permiso para acceder a esta cirugía."}


@pytest.mark.parametrize("path", ["", "/trajectory", "/metrics"])
def test_an_unknown_operation_is_not_found_whoever_asks(
    surgeon: User, member: User, client_of: ClientOf, path: str
) -> None:
    surgery_id = uuid4()
    for user in (surgeon, member):
        response = client_of(user).get(f"{ROOT}/{surgery_id}{path}")
        assert response.status_code == 404
        assert body_of(response) == {"error": f"La cirugía con id {surgery_id} no existe."}


@pytest.mark.parametrize("path", ["", "/trajectory", "/metrics"])
@pytest.mark.parametrize(
    "bad", ["1", "x" * 36, "{550e8400-e29b-41d4-a716-446655440000}", "%00", "%FF", "\u0665" * 36]
)
def test_an_id_that_is_no_uuid_is_refused(
    surgeon: User, client_of: ClientOf, bad: str, path: str
) -> None:
    response = client_of(surgeon).get(f"{ROOT}/{bad}{path}")
    assert response.status_code == 400
    assert body_of(response) == {"error": "El id de la cirugía debe ser un UUID."}


@pytest.mark.parametrize("path", ["", f"/{NOWHERE}", "/nonsense/trajectory", f"/{NOWHERE}/metrics"])
def test_nobody_reads_without_a_token(db: None, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        response = APIClient(headers=headers).get(f"{ROOT}{path}")
        assert response.status_code == 401
        assert body_of(response) == BAD_TOKEN


@pytest.mark.parametrize(
    "path", ["", f"/{NOWHERE}", f"/{NOWHERE}/trajectory", f"/{NOWHERE}/metrics"]
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_reading_is_all_one_can_do_there(
    surgeon: User, client_of: ClientOf, path: str, slash: str
) -> None:
    for method in ("post", "put", "patch", "delete"):
        response = getattr(client_of(surgeon), method)(f"{ROOT}{path}{slash}", {}, format="json")
        assert response.status_code == 405
        assert "error" in body_of(response)


def test_a_browser_elsewhere_may_ask_with_a_token(db: None) -> None:
    response = APIClient().options(
        f"{ROOT}/{NOWHERE}/trajectory",
        headers={
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] in ("*", "http://localhost:3000")
    assert "authorization" in response["Access-Control-Allow-Headers"]


# --- list and detail ------------------------------------------------------------------


def test_the_list_shows_what_the_document_names(surgeon: User, client_of: ClientOf) -> None:
    surgery = completed(surgeon, 3, 2)
    body = body_of(client_of(surgeon).get(ROOT))
    item = {
        "surgeryId": str(surgery.id),
        "surgeonId": str(surgeon.pk),
        "surgeon": "dr grey",
        "status": "completed",
        "startTime": "2026-03-05T10:30:00.123456",
        "endTime": "2026-03-05T10:31:10.623456",
        "durationInSeconds": 70,
        "movements": 5,
        "score": None,
    }
    assert body == {"items": [item], "page": 1, "size": 50, "total": 1}
    assert list(body["items"][0]) == list(item)
    assert body_of(client_of(surgeon).get(f"{ROOT}/{surgery.id}/")) == item


def test_movements_of_an_operation_in_progress_are_those_stored_so_far(
    surgeon: User, client_of: ClientOf
) -> None:
    surgery_id = in_progress(surgeon, 3, 2).surgery_id
    start(surgeon, now=NOW - timedelta(days=1))
    items = body_of(client_of(surgeon).get(ROOT))["items"]
    assert [item["movements"] for item in items] == [5, 0]
    detail = body_of(client_of(surgeon).get(f"{ROOT}/{surgery_id}"))
    assert (detail["movements"], detail["endTime"], detail["durationInSeconds"]) == (5, None, None)


def test_a_surgeon_lists_own_operations_and_others_all(
    surgeon: User,
    other_surgeon: User,
    ai: User,
    operator: User,
    administrator: User,
    member: User,
    client_of: ClientOf,
) -> None:
    for owner in (surgeon, surgeon, other_surgeon):
        completed(owner, 1)
    totals = {
        user.username: body_of(client_of(user).get(ROOT))["total"]
        for user in (surgeon, other_surgeon, ai, operator, administrator, member)
    }
    assert totals == {
        "dr grey": 2,
        "dr house": 1,
        "analyst": 3,
        "operator": 3,
        "boss": 3,
        "member": 0,
    }


def test_the_list_can_be_narrowed(
    surgeon: User, other_surgeon: User, ai: User, client_of: ClientOf
) -> None:
    done, running = completed(surgeon, 1).id, in_progress(surgeon, 1).surgery_id
    lost = interrupted(other_surgeon, 1).id

    def found(**query: str) -> set[str]:
        items = body_of(client_of(ai).get(ROOT, query))["items"]
        return {item["surgeryId"] for item in items}

    assert found(status="completed") == {str(done)}
    assert found(status="in_progress") == {str(running)}
    assert found(status="interrupted") == {str(lost)}
    assert found(surgeon="dr grey") == {str(done), str(running)}
    assert found(surgeon=str(surgeon.pk).upper()) == {str(done), str(running)}
    assert found(surgeon="dr grey", status="completed") == {str(done)}
    assert found(surgeon="dr who") == set()
    assert found(status="", surgeon="", page="", size="", color="red") == {
        str(done),
        str(running),
        str(lost),
    }


def test_a_surgeon_cannot_list_another_by_name(
    surgeon: User, other_surgeon: User, client_of: ClientOf
) -> None:
    completed(other_surgeon, 1)
    assert body_of(client_of(surgeon).get(ROOT, {"surgeon": "dr house"}))["total"] == 0


def test_pages_follow_each_other_newest_first(surgeon: User, client_of: ClientOf) -> None:
    ids = [
        str(in_progress(surgeon, 1, now=NOW + timedelta(minutes=n)).surgery_id) for n in range(5)
    ]
    pages = [
        body_of(client_of(surgeon).get(ROOT, {"page": page, "size": 2})) for page in (1, 2, 3, 4)
    ]
    seen = [[item["surgeryId"] for item in page["items"]] for page in pages]
    assert seen == [ids[:2:-1], ids[2:0:-1], ids[:1], []]
    assert [(page["page"], page["size"], page["total"]) for page in pages] == [
        (1, 2, 5),
        (2, 2, 5),
        (3, 2, 5),
        (4, 2, 5),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "done"),
        ("status", "COMPLETED"),
        ("page", "0"),
        ("page", "-1"),
        ("page", "one"),
        ("page", "1.0"),
        ("page", "\u0663"),
        ("page", "1_0"),
        ("page", "9" * 30),
        ("page", "9" * 5000),
        ("size", "0"),
        ("size", "201"),
        ("surgeon", "x" * 151),
        ("surgeon", "\0"),
        ("surgeon", "a\nb"),
    ],
)
def test_a_bad_filter_is_named(surgeon: User, client_of: ClientOf, name: str, value: str) -> None:
    response = client_of(surgeon).get(ROOT, {name: value})
    assert response.status_code == 400
    assert list(body_of(response)) == [name]


def test_the_largest_page_is_allowed(surgeon: User, client_of: ClientOf) -> None:
    response = client_of(surgeon).get(ROOT, {"size": "200", "page": "1000000"})
    assert (response.status_code, body_of(response)["items"]) == (200, [])


def test_the_list_costs_the_same_for_one_and_for_many(
    surgeon: User, ai: User, client_of: ClientOf, django_assert_max_num_queries: Any
) -> None:
    for n in range(20):
        in_progress(surgeon, 1, now=NOW + timedelta(minutes=n))
    # The account with its role, the page, the total.
    with django_assert_max_num_queries(3):
        client_of(ai).get(ROOT)


# --- metrics --------------------------------------------------------------------------


def test_metrics_are_computed_in_another_process(surgeon: User, client_of: ClientOf) -> None:
    surgery = completed(surgeon, 60, 60)
    try:
        response = client_of(surgeon).get(f"{ROOT}/{surgery.id}/metrics")
    finally:
        stop_apart()
    assert response.status_code == 200
    body = body_of(response)
    assert body["surgeryId"] == str(surgery.id)
    assert (body["points"], body["economy"], body["score"]) == (120, pytest.approx(1.0), 100.0)
    assert {"pathLength", "idleSeconds", "meanSpeed", "sparc", "logDimensionlessJerk"} <= set(body)


def test_there_are_no_metrics_of_nothing(surgeon: User, client_of: ClientOf) -> None:
    response = client_of(surgeon).get(f"{ROOT}/{start(surgeon).surgery_id}/metrics")
    assert response.status_code == 409
    assert body_of(response) == {"error": "La cirugía aún no tiene movimientos."}


# --- description ----------------------------------------------------------------------


def test_every_endpoint_is_described_once(db: None) -> None:
    response = APIClient().get("/api/schema/", {"format": "json"})
    described = json.loads(response.content)["paths"]
    one = f"{ROOT}/{{surgery_id}}"
    ours = {path: set(methods) for path, methods in described.items() if "surger" in path}
    assert ours == {
        ROOT: {"get"},
        one: {"get"},
        f"{one}/trajectory": {"get"},
        f"{one}/analysis": {"post"},
        f"{one}/metrics": {"get"},
    }
    names = {p["name"] for p in described[ROOT]["get"]["parameters"]}
    assert names == {"status", "surgeon", "page", "size"}
