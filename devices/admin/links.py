"""Links from one list of the admin to another."""

from urllib.parse import urlencode

from django.urls import reverse
from django.utils.html import format_html


def link_to(text: str, model: str, **query: object) -> str:
    """Return a link to the list of `model` (of this application), narrowed by `query`."""
    url = f"{reverse(f'admin:devices_{model}_changelist')}?{urlencode(query)}"
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text
    )
