"""Whoever asks, by a token or on a page."""

from uuid import UUID

from accounts.models import User
from realtime.core.session import Principal


def id_of(who: Principal | User) -> UUID:
    return who.user_id if isinstance(who, Principal) else who.pk
