"""The admin as a person uses it: signed in, choosing rows, reading what is said."""

from typing import Any

from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import User


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def list_of(model: str) -> str:
    return reverse(f"admin:devices_{model}_changelist")


def page_of(row: Model, page: str = "change") -> str:
    return reverse(f"admin:devices_{row._meta.model_name}_{page}", args=[row.pk])


def post_action(client: Client, action: str, *rows: Model, **more: Any) -> HttpResponse:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(list_of(rows[0]._meta.model_name), chosen | more, follow=True)


def act(client: Client, action: str, *rows: Model, **more: Any) -> list[str]:
    """Run an action on the rows and return what the person is told."""
    response = post_action(client, action, *rows, **more)
    assert response.status_code == 200
    return [str(message) for message in response.context["messages"]]
