"""Rights that change while a connection is open: another process revokes, the socket ends."""

from collections.abc import Callable

import pytest

from accounts import services
from accounts.access import principal_for_token
from accounts.models import User
from project.tests.live.raw import RawWebSocket, Silence
from project.tests.live.server import Server
from project.tests.live.surgeons import assert_refused, movement, new_surgeon, saved_id, stored

PROMPTLY = 2.0


@pytest.fixture
def surgeon() -> User:
    return User.objects.get(username=new_surgeon())


@pytest.fixture
def ws(simulate: Callable[..., RawWebSocket], surgeon: User) -> RawWebSocket:
    """Return a socket of the surgeon, in the middle of an operation."""
    opened = simulate(surgeon.username)
    opened.send_json(movement("START"))
    return opened


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(services.revoke_all_tokens, id="every token revoked"),
        pytest.param(services.deactivate_user, id="user deactivated"),
        pytest.param(lambda user: services.change_role(user, "ROLE_AI"), id="another role"),
    ],
)
def test_who_loses_the_right_is_closed_with_1008(
    ws: RawWebSocket, surgeon: User, change: Callable[[User], User]
) -> None:
    with pytest.raises(Silence):
        ws.read(within=1.2)  # A revocation counts from the next second on.
    change(surgeon)
    assert_refused(ws.ending(within=PROMPTLY), 1008)


def test_one_revoked_token_ends_its_own_connections_only(
    server: Server, connect: Callable[..., RawWebSocket], surgeon: User
) -> None:
    token, other = (server.token_for(surgeon.username, jti=f"{surgeon.pk}-{n}") for n in (1, 2))
    gone, stays = (connect(server.ws_url("/ws/simulation", token=each)) for each in (token, other))
    principal = principal_for_token(token)
    services.revoke_token(principal.token_id, user=surgeon, expires_at=principal.expires_at)
    assert_refused(gone.ending(within=PROMPTLY), 1008)
    assert_refused(connect(server.ws_url("/ws/simulation", token=token)).ending(), 1008)
    stays.send_json(movement("FINISH"))
    assert len(stored(saved_id(stays.read()))) == 1


def test_logging_out_ends_the_connection(
    server: Server, connect: Callable[..., RawWebSocket]
) -> None:
    token = server.token_for(new_surgeon())
    ws = connect(server.ws_url("/ws/simulation", token=token))
    assert server.request("POST", "/api/v1/auth/logout", token=token)[0] == 204
    assert_refused(ws.ending(within=PROMPTLY), 1008)
