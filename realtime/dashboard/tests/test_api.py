"""The pages' JSON: rights, shapes, and the token that sockets take."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import roles
from accounts.models import User
from accounts.tokens import read_access
from devices.models import Surgery, TrajectoryChunk
from realtime import nodes

TOKEN = "/dashboard/token/"
OVERVIEW = "/dashboard/api/overview"
SURGERIES = "/dashboard/api/surgeries"
NOBODYS = "00000000-0000-4000-8000-000000000000"

MakeUser = Callable[..., User]
MakeSurgery = Callable[..., Surgery]
BrowserOf = Callable[..., Client]


# --- Rights ---------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("path", [OVERVIEW, SURGERIES, f"{SURGERIES}/{NOBODYS}"])
def test_strangers_get_401_as_json(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 401
    assert response.json() == {"error": "sign in first"}


@pytest.mark.parametrize("path", [OVERVIEW, SURGERIES])
def test_a_role_without_the_right_gets_403_as_json(
    make_user: MakeUser, browser_of: BrowserOf, path: str
) -> None:
    response = browser_of(make_user("member", roles.MEMBER)).get(path)
    assert response.status_code == 403
    assert "error" in response.json()


def test_a_surgeon_gets_own_operations_only(
    surgeon: User, make_user: MakeUser, browser_of: BrowserOf, make_surgery: MakeSurgery
) -> None:
    own = make_surgery(surgeon)
    make_surgery(make_user("dr house"))
    body = browser_of(surgeon).get(SURGERIES).json()
    assert [item["surgeryId"] for item in body["items"]] == [str(own.id)]
    assert body["total"] == 1


def test_an_operation_of_another_surgeon_gets_403(
    surgeon: User, make_user: MakeUser, browser_of: BrowserOf, make_surgery: MakeSurgery
) -> None:
    other = make_surgery(make_user("dr house"))
    assert browser_of(surgeon).get(f"{SURGERIES}/{other.id}").status_code == 403


def test_an_unknown_operation_gets_404(operator: Client) -> None:
    assert operator.get(f"{SURGERIES}/{uuid.uuid4()}").status_code == 404


def test_a_token_is_no_session(surgeon: User, client: Client) -> None:
    token = browser_token(surgeon)
    response = client.get(SURGERIES, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 401


def browser_token(user: User) -> str:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client.post(TOKEN).json()["token"]


# --- Shapes ---------------------------------------------------------------------------------


def test_the_overview_has_connections_operations_and_the_journals_position(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    nodes.beat("one", {"simulation": 3}, now=timezone.now())
    make_surgery(surgeon)
    running = make_surgery(surgeon, status="in_progress", ended_at=None, duration_seconds=None)
    body = operator.get(OVERVIEW).json()
    epoch, _, n = body["position"].rpartition("-")
    assert epoch
    assert n.isdigit()
    [process] = body["connections"]
    assert process["node"] == "one"
    assert process["connections"] == {"simulation": 3}
    assert [item["surgeryId"] for item in body["inProgress"]] == [str(running.id)]
    assert len(body["latest"]) == 2


def test_a_process_without_a_heartbeat_is_not_counted(operator: Client) -> None:
    nodes.beat("dead", {"simulation": 3}, now=timezone.now() - timedelta(minutes=1))
    assert operator.get(OVERVIEW).json()["connections"] == []


def test_the_list_has_the_shape_of_the_rest_list(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    surgery = make_surgery(surgeon, score=85.5, feedback="Bien")
    body = operator.get(SURGERIES, {"size": "1"}).json()
    assert body["page"] == 1
    assert body["size"] == 1
    assert body["total"] == 1
    [item] = body["items"]
    assert item["surgeryId"] == str(surgery.id)
    assert item["surgeon"] == "surgeon_master"
    assert item["durationInSeconds"] == 75
    assert item["movements"] == 4500
    assert item["score"] == 85.5


def test_movements_of_an_operation_in_progress_are_counted_as_stored(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    running = make_surgery(surgeon, status="in_progress", movements=0)
    TrajectoryChunk.objects.create(
        surgery=running, seq=0, first=0, count=12, payload=b"[]", received_at=timezone.now()
    )
    [item] = operator.get(SURGERIES).json()["items"]
    assert item["movements"] == 12


def test_the_size_of_a_page_is_bounded(operator: Client) -> None:
    assert operator.get(SURGERIES, {"size": "100000"}).json()["size"] == 100


def test_one_operation_comes_with_its_feedback(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    surgery = make_surgery(surgeon, score=85.5, feedback="Bien")
    assert operator.get(f"{SURGERIES}/{surgery.id}").json()["feedback"] == "Bien"


@pytest.mark.parametrize("path", [OVERVIEW, SURGERIES])
def test_answers_stay_out_of_caches(operator: Client, path: str) -> None:
    assert operator.get(path)["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", [OVERVIEW, SURGERIES])
def test_json_is_only_read(operator: Client, path: str) -> None:
    assert operator.post(path).status_code == 405


# --- Tokens ---------------------------------------------------------------------------------


def test_a_session_buys_a_token_of_ten_minutes(surgeon: User, browser_of: BrowserOf) -> None:
    response = browser_of(surgeon).post(TOKEN)
    body = response.json()
    claims = read_access(body["token"])
    assert body["expires_in"] == 600
    assert claims.username == surgeon.username
    assert claims.expires_at - claims.issued_at == timedelta(minutes=10)
    assert response["Cache-Control"] == "no-store"


def test_a_token_is_not_given_on_get(surgeon: User, browser_of: BrowserOf) -> None:
    assert browser_of(surgeon).get(TOKEN).status_code == 405


@pytest.mark.django_db
def test_a_stranger_gets_no_token(client: Client) -> None:
    assert client.post(TOKEN).status_code == 401


def test_a_token_needs_the_csrf_header(surgeon: User, browser_of: BrowserOf) -> None:
    browser = browser_of(surgeon, enforce_csrf_checks=True)
    assert browser.post(TOKEN).status_code == 403
    browser.get("/dashboard/")
    secret = browser.cookies["csrftoken"].value
    assert browser.post(TOKEN, headers={"X-CSRFToken": secret}).status_code == 200


def test_somebody_deactivated_gets_no_token(surgeon: User, browser_of: BrowserOf) -> None:
    browser = browser_of(surgeon)
    surgeon.is_active = False
    surgeon.save()
    assert browser.post(TOKEN).status_code == 401
