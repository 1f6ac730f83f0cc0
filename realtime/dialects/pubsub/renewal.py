"""A connection that outlives its token: `Auth`, and what a client is told when rights change."""

from typing import TYPE_CHECKING

from accounts.tokens import BadToken
from realtime.auth import principal_of
from realtime.core.errors import Forbidden, TryLater, Unauthorized, Unavailable
from realtime.core.frames import Frame
from realtime.core.session import Principal
from realtime.dialects.pubsub import schema
from realtime.dialects.pubsub.schema import Auth, Incoming
from realtime.dialects.pubsub.subscriptions import active, named
from realtime.hub import Member

if TYPE_CHECKING:
    from realtime.dialects.pubsub.consumer import PubsubConsumer

# A token is told to expire so long before it does, or a tenth of its lifetime when that is less.
WARNING_SECONDS = 60.0
WARNING_SHARE = 10

ROLE_CHANGED = "your role changed"


def warning_of(principal: Principal) -> float:
    """Return how many seconds before its end a token's owner is told of it."""
    lifetime = (principal.expires_at - principal.issued_at).total_seconds()
    return max(0.0, min(WARNING_SECONDS, lifetime / WARNING_SHARE))


async def on_auth(consumer: "PubsubConsumer", message: Incoming) -> None:
    """Go on with another token of the same user, which may do what its role may do now.

    Raises Unauthorized for a token that is no good, Forbidden for another user's; the connection
    stays as it is then, and ends with the old token.
    """
    token = schema.parse_data(message.data, Auth).token
    hub, member = consumer.hub, consumer.member
    changes = hub.access_changes
    try:
        principal = await principal_of(token)
    except BadToken as problem:
        raise Unauthorized(problem.public_text) from None
    except TryLater as away:
        raise Unavailable(away.reason) from None
    if principal.user_id != member.session.principal.user_id:
        raise Forbidden("this token is another user's: open a connection of its own")
    if not principal.may_open(consumer.endpoint):
        raise Forbidden(f"role {principal.role} may not open this endpoint")
    if member.is_ending:
        return  # The old one ended while we looked at the new one.
    member.session.principal = principal
    consumer.watch_expiry()
    ended = hub.reauthorise(member)
    consumer.answer(schema.auth_status("refreshed", principal.expires_at, **named(message)))
    if ended:
        on_narrowed(member, ended)
    if message.id is not None:
        consumer.answer(schema.ack(message.id, "refreshed"))
    if changes != hub.access_changes and hub.look_again is not None:
        # Rights changed after the token was read.
        hub.look_again(member)


def on_narrowed(member: Member, ended: list[str]) -> None:
    """Tell a client which subscriptions its new role ended."""
    details = {
        "topics": ended,
        "active_subscriptions": active(member),
        "reason": ROLE_CHANGED,
    }
    member.send(Frame(schema.status("unsubscribed", details)))


def on_access_ended(member: Member, reason: Exception) -> None:
    """Tell a client why it has to leave: its token was taken back, or its role may not stay."""
    if isinstance(reason, Forbidden):
        member.send(Frame(schema.error(403, str(reason))))
    else:
        expires_at = member.session.principal.expires_at
        member.send(Frame(schema.auth_status("revoked", expires_at)))
