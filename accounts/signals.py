"""What others may hear of accounts. Declared here, received wherever it matters."""

from uuid import UUID

from django.dispatch import Signal

# Somebody's rights may have shrunk: look again at who is connected. Sent inside the transaction,
# with `send`: a receiver that raises undoes the change. Exactly one of `user_id`, `role` and
# `token_id` is set.
access_changed = Signal()


def announce_access_changed(
    sender: type,
    *,
    user_id: UUID | None = None,
    role: str | None = None,
    token_id: str | None = None,
) -> None:
    """Send `access_changed` with all three arguments present."""
    access_changed.send(sender, user_id=user_id, role=role, token_id=token_id)
