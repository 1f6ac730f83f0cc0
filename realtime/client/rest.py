"""The REST side of the client: login, renewal, surgeries, trajectories, analyses, devices.

Tokens and the password stay inside `RestClient`: in no repr, log line or error text.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar
from uuid import UUID

import httpx
import msgspec

from realtime.client.errors import LoginRefused, RequestFailed, Unreachable, Unreadable
from realtime.core.movement import Movement

T = TypeVar("T")

TIMEOUT_SECONDS = 10.0
# A token is renewed this long before it runs out, so that no request meets its last moment.
RENEW_BEFORE_SECONDS = 60.0
API = "/api/v1"

# httpcore prints response headers, `Set-Cookie: jwt-token=…` among them, at DEBUG.
logging.getLogger("httpcore").setLevel(logging.INFO)


class SurgeryItem(msgspec.Struct, frozen=True, rename="camel"):
    """One line of the list of surgeries. Times are ISO 8601 as the server wrote them."""

    surgery_id: UUID
    surgeon_id: UUID
    surgeon: str
    status: str
    start_time: str
    end_time: str | None
    duration_in_seconds: int | None
    movements: int
    score: float | None


class SurgeryPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of surgeries; `total` counts all pages' items."""

    items: list[SurgeryItem]
    page: int
    size: int
    total: int


class Trajectory(msgspec.Struct, frozen=True, rename="camel"):
    """Every movement of one surgery, in the order of arrival; score null until analysed."""

    surgery_id: UUID
    start_time: str
    end_time: str | None
    movements: list[Movement]
    score: float | None
    feedback: str | None


class DeviceItem(msgspec.Struct, frozen=True):
    """One device: `id` is its number on the wire, `device_id` its maker's name for it."""

    id: int
    name: str
    device_id: str
    device_type: str
    status: str


class _DeviceToken(msgspec.Struct):
    token: str

    def __repr__(self) -> str:
        return "<device token>"


class _LoginData(msgspec.Struct):
    refresh_token: str = ""
    expires_in: float = 86_400

    def __repr__(self) -> str:
        return "<login data>"


class _LoginBody(msgspec.Struct):
    token: str
    data: _LoginData = msgspec.field(default_factory=_LoginData)

    def __repr__(self) -> str:
        return "<login body>"


class RestClient:
    """One account's conversation with the REST interface; logs in by itself when it must.

    Every method raises Unreachable when there is no answer, RequestFailed for an error
    status, LoginRefused when the account is not let in. Safe for concurrent tasks of one
    event loop. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self._username = username
        self._password = password
        self._clock = clock
        self._token = ""
        self._refresh_token = ""
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()
        # No cookies: the server looks at `jwt-token` before the header, and an old one
        # would hide the new token.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.AsyncClient(
            base_url=self.url + API,
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            cookies=no_cookies,
        )

    def __repr__(self) -> str:
        return f"<RestClient {self._username} at {self.url}>"

    async def __aenter__(self) -> "RestClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    # --- Tokens ---

    async def token(self) -> str:
        """Return a token that is good for a while; renews it or logs in when needed."""
        async with self._renewing:
            if not self._token:
                await self.login()
            elif self._clock() >= self._renew_at:
                await self.refresh()
            return self._token

    def forget_token(self) -> None:
        """Make the next `token()` log in anew."""
        self._token = self._refresh_token = ""

    async def login(self) -> None:
        """Log in with username and password."""
        credentials = {"username": self._username, "password": self._password}
        response = await self._send("POST", "/auth/login", json=credentials)
        if response.status_code in {400, 401, 403}:
            raise LoginRefused(f"login of {self._username!r}: {_message(response)}")
        self._keep(response)

    async def refresh(self) -> None:
        """Exchange the refresh token for a new pair; logs in when it is not taken."""
        if self._refresh_token:
            body = {"refresh_token": self._refresh_token}
            response = await self._send("POST", "/auth/refresh", json=body)
            if response.status_code not in {400, 401, 403}:
                self._keep(response)
                return
        await self.login()

    def _keep(self, response: httpx.Response) -> None:
        body = _decode(_checked(response), _LoginBody)
        self._token = body.token
        self._refresh_token = body.data.refresh_token
        self._renew_at = self._clock() + body.data.expires_in - RENEW_BEFORE_SECONDS

    # --- Surgeries ---

    async def surgeries(
        self, *, status: str = "", surgeon: str = "", page: int = 0, size: int = 0
    ) -> SurgeryPage:
        """Return one page of the surgeries this account may see; what is not said is not asked."""
        wanted = {"status": status, "surgeon": surgeon, "page": page, "size": size}
        params = {name: value for name, value in wanted.items() if value}
        return _decode(await self._request("GET", "/surgeries", params=params), SurgeryPage)

    async def surgery(self, surgery_id: UUID) -> SurgeryItem:
        """Return one surgery's line; `movements` counts what is stored so far."""
        return _decode(await self._request("GET", f"/surgeries/{surgery_id}"), SurgeryItem)

    async def trajectory(self, surgery_id: UUID) -> Trajectory:
        """Return one surgery with every stored movement."""
        response = await self._request("GET", f"/surgeries/{surgery_id}/trajectory")
        return _decode(response, Trajectory)

    async def post_analysis(self, surgery_id: UUID, *, score: float, feedback: str) -> None:
        """Store score (0 to 100) and feedback; a later post overwrites an earlier one."""
        body = {"score": score, "feedback": feedback}
        await self._request("POST", f"/surgeries/{surgery_id}/analysis", json=body)

    # --- Devices ---

    async def devices(self, *, limit: int = 1000) -> list[DeviceItem]:
        """Return the devices in service, at most `limit` of them."""
        response = await self._request("GET", "/devices/", params={"limit": limit})
        return _decode(response, list[DeviceItem])

    async def issue_device_token(self, device_id: int) -> str:
        """Return a new token for one device, which this account may manage."""
        response = await self._request("POST", f"/devices/{device_id}/token")
        return _decode(response, _DeviceToken).token

    # --- Requests ---

    async def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send with our token; a token that is not taken is replaced once."""
        response = await self._send_authorised(method, path, **content)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self.forget_token()
            response = await self._send_authorised(method, path, **content)
        return _checked(response)

    async def _send_authorised(self, method: str, path: str, **content: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {await self.token()}"}
        return await self._send(method, path, headers=headers, **content)

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **content)
        except httpx.RequestError as error:
            raise Unreachable(f"{method} {path}: {type(error).__name__}") from error


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    wait = response.headers.get("Retry-After", "")
    raise RequestFailed(
        response.status_code,
        _message(response),
        retry_after=float(wait) if wait.isdigit() else 0.0,
    )


def _message(response: httpx.Response) -> str:
    """Return the text of an error body: `{"error": …}`, `{"detail": …}`, or whatever stands there,
    cut short.
    """
    try:
        body = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        body = response.text
    text = body.get("error", body.get("detail", body)) if isinstance(body, dict) else body
    return str(text)[:200]


def _decode(response: httpx.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise Unreadable(f"{response.url.path}: {error}") from error
