"""Who a REST request is from: the cookie first, then the header."""

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import access
from accounts.models import User
from accounts.tokens import BadToken
from realtime.core.session import Principal

COOKIE = "jwt-token"
SCHEME = "bearer"


class TokenRefused(AuthenticationFailed):
    """Raised when a request carries a token that opens nothing."""

    def __init__(self, problem: BadToken) -> None:
        super().__init__()
        self.public_text = problem.public_text


class TokenAuthentication(BaseAuthentication):
    """Sets `request.user` to the account and `request.auth` to its principal.

    A cookie that is present but bad is the end of it: the header is not tried.
    """

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        token = _token_of(request)
        if token is None:
            return None
        try:
            return access.account_for_token(token)
        except BadToken as error:
            raise TokenRefused(error) from error

    def authenticate_header(self, request: Request) -> str:
        return f'Bearer realm="{settings.JWT_ISSUER}"'


def _token_of(request: Request) -> str | None:
    if COOKIE in request.COOKIES:
        return request.COOKIES[COOKIE]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == SCHEME else None
