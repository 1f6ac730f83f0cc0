"""Signing in and out of the pages."""

import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.models import User
from realtime.dashboard.tests.test_views import text_of

PASSWORD = "justina2024"


@pytest.fixture
def surgeon_with_password(db: None) -> User:
    return User.objects.create_user("surgeon_master", PASSWORD)


def sign_in(client: Client, password: str = PASSWORD, **more: str) -> HttpResponse:
    return client.post("/login/", {"username": "surgeon_master", "password": password, **more})


def test_signing_in_leads_to_the_dashboard(surgeon_with_password: User, client: Client) -> None:
    response = sign_in(client)
    assert response.status_code == 302
    assert response["Location"] == "/dashboard/"


def test_signing_in_leads_back_to_where_one_came_from(
    surgeon_with_password: User, client: Client
) -> None:
    assert sign_in(client, next="/simulator")["Location"] == "/simulator"


def test_signing_in_never_leads_to_another_host(
    surgeon_with_password: User, client: Client
) -> None:
    assert sign_in(client, next="//elsewhere.example/")["Location"] == "/dashboard/"


def test_a_wrong_password_is_told_without_saying_which_part_was_wrong(
    surgeon_with_password: User, client: Client
) -> None:
    response = sign_in(client, password="guess")
    assert response.status_code == 200
    page = response.content.decode()
    assert 'role="alert"' in page
    assert "guess" not in page


def test_the_form_names_its_fields(db: None, client: Client) -> None:
    page = text_of(client, "/login/")
    assert '<label for="id_username">' in page
    assert '<label for="id_password">' in page
    assert 'autocomplete="current-password"' in page


def test_somebody_who_may_not_open_a_page_learns_it_on_the_form(operator: Client) -> None:
    page = text_of(operator, "/login/?next=/simulator")
    assert "You are signed in as" in page


def test_signing_out_is_no_link(operator: Client) -> None:
    assert operator.get("/logout/").status_code == 405
    assert operator.post("/logout/")["Location"] == "/login/"
    assert operator.get("/dashboard/").status_code == 302
