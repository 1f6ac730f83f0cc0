"""The REST client: logs in by itself, renews its token, and never shows it."""

import logging
from uuid import UUID, uuid4

import httpx
import pytest

from realtime.client.errors import LoginRefused, RequestFailed, Unreachable, Unreadable
from realtime.client.rest import RestClient
from realtime.client.tests.doubles import Time, body_of
from realtime.core.movement import Movement

SURGERY = UUID("550e8400-e29b-41d4-a716-446655440000")
ITEM = {
    "surgeryId": str(SURGERY),
    "surgeonId": str(uuid4()),
    "surgeon": "ada",
    "status": "in_progress",
    "startTime": "2026-03-05T10:30:00.123456",
    "endTime": None,
    "durationInSeconds": None,
    "movements": 120,
    "score": None,
}
TRAJECTORY = {
    "surgeryId": str(SURGERY),
    "startTime": "2026-03-05T10:30:00.123456",
    "endTime": "2026-03-05T10:31:10.5",
    "movements": [{"coordinates": [0.0, 0.0, 0.0], "event": "START", "timestamp": 1710523456789}],
    "score": None,
    "feedback": None,
}


class Backend:
    """Answers like the REST interface and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.logins = 0
        self.good_token = ""
        self.answers: dict[str, httpx.Response] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path.removeprefix("/api/v1")
        if path in self.answers:
            return self.answers[path]
        if path in {"/auth/login", "/auth/refresh"}:
            return self._login(path)
        if request.headers["Authorization"] != f"Bearer {self.good_token}":
            return httpx.Response(401, json={"error": "Token de autenticación inválido"})
        return httpx.Response(200, json=TRAJECTORY if path.endswith("trajectory") else ITEM)

    def _login(self, path: str) -> httpx.Response:
        self.logins += 1
        self.good_token = f"secret-{self.logins}"
        data = {"refresh_token": f"refresh-{self.logins}", "expires_in": 3600}
        return httpx.Response(
            200,
            json={"token": self.good_token, "data": data},
            headers={"Set-Cookie": f"jwt-token={self.good_token}; Path=/; HttpOnly"},
        )

    def paths(self) -> list[str]:
        return [request.url.path.removeprefix("/api/v1") for request in self.requests]


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
async def rest(backend, clock):
    transport = httpx.MockTransport(backend)
    async with RestClient(
        "http://server/", "ada", "secret-password", transport=transport, clock=clock
    ) as client:
        yield client


async def test_the_first_request_logs_in(rest, backend):
    assert (await rest.surgery(SURGERY)).movements == 120
    assert backend.paths() == ["/auth/login", f"/surgeries/{SURGERY}"]
    assert body_of(backend.requests[0]) == {"username": "ada", "password": "secret-password"}


async def test_a_trajectory_has_its_movements(rest):
    trajectory = await rest.trajectory(SURGERY)
    assert trajectory.movements == [Movement([0.0, 0.0, 0.0], "START", 1710523456789)]
    assert trajectory.score is None


async def test_an_analysis_is_posted_with_score_and_feedback(rest, backend):
    await rest.post_analysis(SURGERY, score=85.5, feedback="bien")
    assert body_of(backend.requests[-1]) == {"score": 85.5, "feedback": "bien"}


async def test_the_list_asks_only_for_what_was_said(rest, backend):
    backend.answers["/surgeries"] = httpx.Response(
        200, json={"items": [ITEM], "page": 1, "size": 20, "total": 1}
    )
    page = await rest.surgeries(status="interrupted")
    assert page.items[0].surgery_id == SURGERY
    assert backend.requests[-1].url.query == b"status=interrupted"


async def test_a_token_that_is_not_taken_is_replaced_once(rest, backend):
    await rest.token()
    backend.good_token = "revoked"
    await rest.surgery(SURGERY)
    assert backend.logins == 2


async def test_a_server_that_takes_no_token_at_all_is_not_asked_for_ever(rest, backend):
    backend.answers[f"/surgeries/{SURGERY}"] = httpx.Response(401, json={"error": "no"})
    with pytest.raises(RequestFailed, match="401"):
        await rest.surgery(SURGERY)
    assert backend.logins == 2


async def test_a_token_is_renewed_before_it_runs_out(rest, backend, clock):
    first = await rest.token()
    clock.now = 3500.0
    assert await rest.token() == first
    clock.now = 3541.0
    assert await rest.token() != first
    assert backend.paths() == ["/auth/login", "/auth/refresh"]
    assert body_of(backend.requests[-1]) == {"refresh_token": "refresh-1"}


async def test_a_refused_refresh_becomes_a_login(rest, backend, clock):
    backend.answers["/auth/refresh"] = httpx.Response(401, json={"error": "no"})
    await rest.token()
    clock.now = 3600.0
    await rest.token()
    assert backend.paths() == ["/auth/login", "/auth/refresh", "/auth/login"]


async def test_a_forgotten_token_means_a_new_login(rest, backend):
    await rest.token()
    rest.forget_token()
    await rest.token()
    assert backend.paths() == ["/auth/login", "/auth/login"]


async def test_a_cookie_of_the_server_is_never_sent_back(rest, backend):
    await rest.surgery(SURGERY)
    await rest.surgery(SURGERY)
    assert all("Cookie" not in request.headers for request in backend.requests)


async def test_wrong_credentials_are_their_own_error(rest, backend):
    backend.answers["/auth/login"] = httpx.Response(401, json={"error": "Credenciales inválidas"})
    with pytest.raises(LoginRefused, match="Credenciales inválidas"):
        await rest.surgery(SURGERY)


async def test_a_throttled_login_says_when_to_try_again(rest, backend):
    backend.answers["/auth/login"] = httpx.Response(429, headers={"Retry-After": "42"})
    with pytest.raises(RequestFailed) as caught:
        await rest.token()
    assert caught.value.retry_after == 42.0
    assert not caught.value.is_final


async def test_a_server_that_is_away_is_unreachable(clock):
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    transport = httpx.MockTransport(refuse)
    async with RestClient("http://s", "ada", "x", transport=transport, clock=clock) as client:
        with pytest.raises(Unreachable, match="ConnectError"):
            await client.surgery(SURGERY)


async def test_a_body_of_another_shape_is_unreadable(rest, backend):
    backend.answers[f"/surgeries/{SURGERY}"] = httpx.Response(200, json=[1])
    with pytest.raises(Unreadable):
        await rest.surgery(SURGERY)


async def test_no_repr_error_or_log_line_shows_a_secret(rest, backend, caplog):
    caplog.set_level(logging.DEBUG)
    backend.answers[f"/surgeries/{SURGERY}"] = httpx.Response(404, json={"error": "no existe"})
    with pytest.raises(RequestFailed) as caught:
        await rest.surgery(SURGERY)
    seen = f"{rest!r} {caught.value!r} {caplog.text}"
    assert "secret" not in seen
    assert "refresh-1" not in seen


def test_the_transport_below_does_not_log_headers():
    assert not logging.getLogger("httpcore.http11").isEnabledFor(logging.DEBUG)
