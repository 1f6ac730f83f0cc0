"""The pages as a browser without scripts sees them, and who may see them."""

import json
import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from accounts import roles
from accounts.models import User
from devices.models import Surgery
from realtime import nodes

NOBODYS = "00000000-0000-4000-8000-000000000000"
EVIL = "<script>alert(1)</script>"

MakeUser = Callable[..., User]
MakeSurgery = Callable[..., Surgery]
BrowserOf = Callable[..., Client]


def text_of(client: Client, path: str, *, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status
    return response.content.decode()


# --- Who may see what ---------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/login/", "/login", "/simulator", "/simulator/"])
def test_public_pages_need_no_sign_in(client: Client, path: str) -> None:
    text_of(client, path)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard", f"/dashboard/surgeries/{NOBODYS}/"])
def test_strangers_are_sent_to_the_sign_in_page(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={path}"


@pytest.mark.parametrize("role", [roles.AI, roles.MEMBER, roles.DEVICE])
def test_a_role_without_the_right_gets_403(
    make_user: MakeUser, browser_of: BrowserOf, role: str
) -> None:
    page = text_of(browser_of(make_user("somebody", role)), "/dashboard/", status=403)
    assert "may not open this page" in page


@pytest.mark.parametrize("role", [roles.OPERATOR, roles.VIEWER, roles.ADMIN])
def test_those_who_may_see_all_see_every_operation(
    make_user: MakeUser, browser_of: BrowserOf, make_surgery: MakeSurgery, role: str
) -> None:
    make_surgery(make_user("dr grey"))
    make_surgery(make_user("dr house"))
    page = text_of(browser_of(make_user("somebody", role)), "/dashboard/")
    assert "dr grey" in page
    assert "dr house" in page


def test_a_surgeon_sees_only_own_operations_and_no_processes(
    surgeon: User, make_user: MakeUser, browser_of: BrowserOf, make_surgery: MakeSurgery
) -> None:
    nodes.beat("one", {"simulation": 3}, now=timezone.now())
    own = make_surgery(surgeon)
    other = make_surgery(make_user("dr house"))
    page = text_of(browser_of(surgeon), "/dashboard/")
    assert str(own.id) in page
    assert str(other.id) not in page
    assert "Processes" not in page


def test_an_operation_of_another_surgeon_gets_403(
    surgeon: User, make_user: MakeUser, browser_of: BrowserOf, make_surgery: MakeSurgery
) -> None:
    other = make_surgery(make_user("dr house"))
    text_of(browser_of(surgeon), f"/dashboard/surgeries/{other.id}/", status=403)


def test_an_unknown_operation_gets_404(operator: Client) -> None:
    page = text_of(operator, f"/dashboard/surgeries/{NOBODYS}/", status=404)
    assert "nothing at this address" in page


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_pages_are_only_read(operator: Client, method: str) -> None:
    assert getattr(operator, method)("/dashboard/").status_code == 405


# --- Overview -----------------------------------------------------------------------------


def test_the_overview_says_when_there_is_nothing(operator: Client) -> None:
    page = text_of(operator, "/dashboard/")
    assert "Nobody is operating now" in page
    assert "No operation has been stored yet" in page


def test_the_overview_counts_connections_by_endpoint_and_process(operator: Client) -> None:
    nodes.beat("one", {"simulation": 3, "ai": 1}, now=timezone.now())
    nodes.beat("two", {"simulation": 4}, now=timezone.now())
    page = re.sub(r"\s+", " ", text_of(operator, "/dashboard/"))
    assert "<dt>Simulators</dt><dd>7</dd>" in page
    assert "<dt>Analysis services</dt><dd>1</dd>" in page
    assert "ai 1 · simulation 3" in page


def test_operations_in_progress_are_drawn_for_and_given_to_scripts(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    running = make_surgery(surgeon, status="in_progress", ended_at=None, duration_seconds=None)
    page = text_of(operator, "/dashboard/")
    data = re.search(r'<script id="in-progress" type="application/json">(.*?)</script>', page)
    assert [item["surgeryId"] for item in json.loads(data[1])] == [str(running.id)]
    assert f'<article class="view" data-surgery="{running.id}">' in page


def test_at_most_a_dozen_views_are_drawn(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    for _ in range(14):
        make_surgery(surgeon, status="in_progress", ended_at=None, duration_seconds=None)
    page = text_of(operator, "/dashboard/").partition("<template")[0]
    assert page.count('<article class="view"') == 12


def test_the_list_shows_score_and_duration(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    make_surgery(surgeon, score=85.54, feedback="Bien", duration_seconds=3700)
    page = text_of(operator, "/dashboard/")
    assert 'data-field="score">85.5<' in page
    assert 'data-field="duration">1:01:40<' in page


def test_a_score_of_zero_is_shown(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    make_surgery(surgeon, score=0.0, feedback="Mal")
    assert 'data-field="score">0.0<' in text_of(operator, "/dashboard/")


def test_the_list_is_filtered_by_status_and_surgeon(
    operator: Client, make_user: MakeUser, make_surgery: MakeSurgery
) -> None:
    grey, house = make_user("dr grey"), make_user("dr house")
    wanted = make_surgery(grey, status="interrupted")
    others = [make_surgery(grey), make_surgery(house, status="interrupted")]
    page = text_of(operator, "/dashboard/?status=interrupted&surgeon=Grey")
    assert str(wanted.id) in page
    assert not any(str(other.id) in page for other in others)


def test_pages_of_the_list_keep_their_filters(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    for _ in range(21):
        make_surgery(surgeon)
    page = text_of(operator, "/dashboard/?status=completed")
    assert 'href="?status=completed&amp;page=2"' in page
    assert "Page 1 of 2" in page
    assert "Page 2 of 2" in text_of(operator, "/dashboard/?status=completed&page=2")


@pytest.mark.parametrize(
    "query",
    [
        "status=nonsense",
        "page=-1",
        "page=99999999999999999999",
        "size=x",
        "surgeon=%00",
        "page=%D9%A1",
    ],
)
def test_a_query_that_makes_no_sense_shows_the_list(
    operator: Client, surgeon: User, make_surgery: MakeSurgery, query: str
) -> None:
    make_surgery(surgeon)
    assert "surgeon_master" in text_of(operator, f"/dashboard/?{query}")


def test_the_number_of_queries_does_not_grow_with_the_list(
    operator: Client,
    surgeon: User,
    make_surgery: MakeSurgery,
    django_assert_max_num_queries: Callable[[int], object],
) -> None:
    for number in range(20):
        status = "in_progress" if number % 2 else "completed"
        make_surgery(surgeon, status=status)
    with django_assert_max_num_queries(10):
        operator.get("/dashboard/")


# --- One operation ------------------------------------------------------------------------


def test_an_operation_shows_its_facts_score_and_feedback(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    surgery = make_surgery(surgeon, score=92.0, feedback="🏆 EXCELENTE | Score: 92.0/100")
    page = text_of(operator, f"/dashboard/surgeries/{surgery.id}/")
    for fact in ("surgeon_master", "Completed", "1:15", "4500", "92.0", "EXCELENTE"):
        assert fact in page


def test_an_operation_without_analysis_says_so(
    operator: Client, surgeon: User, make_surgery: MakeSurgery
) -> None:
    page = text_of(operator, f"/dashboard/surgeries/{make_surgery(surgeon).id}/")
    assert "The analysis has not arrived yet" in page


def test_what_people_wrote_is_shown_as_text(
    operator: Client, make_user: MakeUser, make_surgery: MakeSurgery
) -> None:
    running = {"status": "in_progress", "ended_at": None, "duration_seconds": None}
    author = make_user(EVIL)
    surgery = make_surgery(author, score=1.0, feedback=EVIL)
    make_surgery(author, **running)
    paths = ("/dashboard/", f"/dashboard/?surgeon={EVIL}", f"/dashboard/surgeries/{surgery.id}/")
    for path in paths:
        assert EVIL not in text_of(operator, path)


# --- Simulator ------------------------------------------------------------------------------


def test_a_surgeon_may_operate(surgeon: User, browser_of: BrowserOf) -> None:
    page = text_of(browser_of(surgeon), "/simulator")
    assert "<canvas" in page
    assert 'data-token-url="/dashboard/token/"' in page


def test_a_stranger_is_asked_to_sign_in_as_a_surgeon(db: None, client: Client) -> None:
    page = text_of(client, "/simulator")
    assert "<canvas" not in page
    assert 'href="/login/?next=/simulator"' in page


def test_somebody_else_is_asked_to_sign_in_as_a_surgeon(operator: Client) -> None:
    page = text_of(operator, "/simulator")
    assert "<canvas" not in page
    assert "Sign in as a surgeon" in page


# --- Everywhere -----------------------------------------------------------------------------


def test_pages_come_with_a_policy_that_forbids_inline_scripts(operator: Client) -> None:
    policy = operator.get("/dashboard/")["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-eval" not in policy


def test_scripts_in_a_page_are_files_or_data(
    operator: Client, surgeon: User, browser_of: BrowserOf, make_surgery: MakeSurgery
) -> None:
    surgery = make_surgery(surgeon)
    pages = [
        text_of(operator, "/dashboard/"),
        text_of(operator, f"/dashboard/surgeries/{surgery.id}/"),
        text_of(browser_of(surgeon), "/simulator"),
    ]
    for page in pages:
        tags = re.findall(r"<script[^>]*>", page)
        assert tags
        assert all("src=" in tag or "application/json" in tag for tag in tags)
