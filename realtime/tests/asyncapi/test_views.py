"""The document over HTTP, as JSON and as a page."""

import pytest
from django.test import Client

from realtime.asyncapi.document import document
from realtime.asyncapi.page import Piece, pieces, rows_of


def test_everybody_may_read_it(client: Client) -> None:
    response = client.get("/api/asyncapi.json", HTTP_HOST="localhost:8000")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.json()["servers"]["vitalwire"]["host"] == "localhost:8000"
    assert response.json()["channels"].keys() == document()["channels"].keys()


def test_over_tls_the_server_is_reached_over_tls(client: Client) -> None:
    response = client.get("/api/asyncapi.json", HTTP_HOST="localhost", secure=True)
    assert response.json()["servers"]["vitalwire"]["protocol"] == "wss"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/asyncapi/", "/api/asyncapi"])
def test_the_page_shows_every_message_and_loads_nothing_foreign(client: Client, path: str) -> None:
    response = client.get(path, HTTP_HOST="localhost")
    page = response.content.decode()
    assert response.status_code == 200
    for name, channel in document()["channels"].items():
        assert channel["address"] in page, name
    for name in document()["components"]["messages"]:
        assert f'id="{name.replace(".", "-", 2)}"' in page
    assert "<script" not in page
    assert "https://" not in page.replace("https://status.example.com", "")


@pytest.mark.django_db
def test_the_home_page_leads_to_it(client: Client) -> None:
    page = client.get("/", HTTP_HOST="localhost").content.decode()
    assert 'href="/api/asyncapi/"' in page


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_it_is_read_only(client: Client, method: str) -> None:
    answer = getattr(client, method)("/api/asyncapi.json", HTTP_HOST="localhost")
    assert answer.status_code == 405


# --- Fields ----------------------------------------------------------------------------------


def test_fields_of_inner_objects_are_named_by_their_path() -> None:
    told = document()
    status = told["components"]["messages"]["pubsub.sent.Status"]["payload"]
    rows = {(row.form, row.path): row for row in rows_of(told, status)}
    position = rows["subscribed", "data.details.position"]
    assert (position.type, position.is_required) == ("string", False)
    assert rows["connected", "data.details.server_time"].is_required
    assert rows["", "type"].type == '"Status"'


def test_names_in_a_sentence_are_told_apart() -> None:
    assert pieces("with a `reason`.") == [
        Piece("with a ", False),
        Piece("reason", True),
        Piece(".", False),
    ]
