"""Log in, register, who am I, renew, log out: the `auth` endpoints."""

import logging

from django.contrib.auth import authenticate
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from accounts import services, throttle
from accounts.api import serializers
from accounts.api.authentication import COOKIE, TokenAuthentication
from accounts.models import User
from accounts.services import LoginTokens
from realtime.core.errors import Conflict, Invalid

logger = logging.getLogger("vitalwire.accounts")

LOGGED_IN = "Login exitoso"
REGISTERED = "Usuario registrado con éxito"
UNKNOWN_USER = "Usuario o contraseña incorrectos"
WRONG_PASSWORD = "Credenciales inválidas"
NAME_TAKEN = "El usuario ya existe"

TAGS = ["auth"]
BAD_REQUEST = OpenApiResponse(
    {"type": "object", "additionalProperties": {"type": "string"}},
    description="One message for each field, or `error` for a body that is not JSON.",
)
REFUSED = OpenApiResponse(serializers.Error, description="Who asks is not known.")
TOO_MANY = OpenApiResponse(
    serializers.Error, description="Too many attempts; `Retry-After` says when to try again."
)
BUSY = OpenApiResponse(
    serializers.Error, description="Too many at once; `Retry-After` says when to try again."
)


class LoginView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        tags=TAGS,
        summary="Log in",
        operation_id="login",
        auth=[],
        request=serializers.LoginRequest,
        responses={
            200: serializers.LoginAnswer,
            400: BAD_REQUEST,
            401: REFUSED,
            429: TOO_MANY,
            503: BUSY,
        },
    )
    def post(self, request: Request) -> Response:
        """Also sets the cookie `jwt-token`."""
        given = _given(serializers.LoginRequest, request)
        # Counting failures needs Django's own request; so does the answer when there are too many.
        user = authenticate(request._request, **given)
        if throttle.is_locked_out(request._request):
            logger.warning("login refused: too many failures")
            raise Throttled
        if not isinstance(user, User):
            raise _login_refused(given["username"])
        throttle.forgive(request._request, user.username)
        return _login_answer(user, services.login_tokens(user))


def _login_refused(username: str) -> AuthenticationFailed:
    """Say which of the two was wrong, as the document does; either took one hash to find out."""
    account = User.objects.filter(username=username).only("pk").first()
    if account is None:
        logger.warning("login refused: unknown user")
        return AuthenticationFailed(UNKNOWN_USER)
    logger.warning("login refused: wrong password or inactive, user %s", account.pk)
    return AuthenticationFailed(WRONG_PASSWORD)


class RegisterView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        tags=TAGS,
        summary="Register as a surgeon",
        operation_id="register",
        auth=[],
        request=serializers.RegisterRequest,
        responses={200: serializers.Message, 400: BAD_REQUEST, 429: TOO_MANY, 503: BUSY},
    )
    def post(self, request: Request) -> Response:
        """A name that is taken is a 400, as in the document."""
        given = _given(serializers.RegisterRequest, request)
        throttle.count_attempt(request._request)
        try:
            services.register_user(given["username"], given["password"])
        except Conflict as error:
            raise Invalid(NAME_TAKEN) from error
        return Response({"message": REGISTERED})


class MeView(APIView):
    # The document's server looks up the anonymous user here, and fails with the login's text.
    unauthorised_text = UNKNOWN_USER

    @extend_schema(
        tags=TAGS,
        summary="Who am I",
        operation_id="me",
        responses={200: serializers.Me, 401: REFUSED},
    )
    def get(self, request: Request) -> Response:
        user = request.user
        return Response({"id": user.pk, "username": user.username, "role": user.role_id})


class RefreshView(APIView):
    # An expired cookie must not stand in the way of a good refresh token.
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        tags=TAGS,
        summary="Renew a token",
        operation_id="refresh",
        auth=[{"bearerToken": []}, {"cookieToken": []}, {}],
        request=serializers.RefreshRequest,
        responses={200: serializers.LoginAnswer, 400: BAD_REQUEST, 401: REFUSED},
    )
    def post(self, request: Request) -> Response:
        """Takes a refresh token, which is spent by it, or the current token. Answers as login."""
        refresh = _given(serializers.RefreshRequest, request).get("refresh_token")
        if refresh is not None:
            return _login_answer(*services.rotate_refresh(refresh))
        account = TokenAuthentication().authenticate(request)
        if account is None:
            raise NotAuthenticated
        user, _ = account
        return _login_answer(user, services.login_tokens(user))


class LogoutView(APIView):
    @extend_schema(
        tags=TAGS,
        summary="Log out",
        operation_id="logout",
        request=serializers.RefreshRequest,
        responses={204: OpenApiResponse(description="Done."), 401: REFUSED},
    )
    def post(self, request: Request) -> Response:
        """Takes the token used back, and the refresh token if one is given; ends connections."""
        refresh = _given(serializers.RefreshRequest, request).get("refresh_token")
        principal = request.auth
        services.revoke_token(
            principal.token_id, user=request.user, expires_at=principal.expires_at
        )
        if refresh:
            services.revoke_refresh(refresh, user=request.user)
        response = Response(status=204)
        response.delete_cookie(COOKIE, samesite="None")
        return response


def _given(form: type[Serializer], request: Request) -> dict[str, str]:
    """Return the body's checked fields. Raises ValidationError."""
    body = form(data=request.data)
    body.is_valid(raise_exception=True)
    return body.validated_data


def _login_answer(user: User, tokens: LoginTokens) -> Response:
    seconds = int(tokens.lifetime.total_seconds())
    response = Response(
        {
            "message": LOGGED_IN,
            "userId": user.pk,
            "username": user.username,
            "role": user.role_id,
            "token": tokens.access,
            "refresh_token": tokens.refresh,
            "expires_in": seconds,
            "data": {
                "access_token": tokens.access,
                "refresh_token": tokens.refresh,
                "token_type": "Bearer",
                "expires_in": seconds,
                "user": {
                    "id": user.pk,
                    "username": user.username,
                    "email": user.email,
                    "role": user.role_id,
                },
            },
        },
        headers={"Cache-Control": "no-store"},
    )
    response.set_cookie(
        COOKIE, tokens.access, max_age=seconds, secure=True, httponly=True, samesite="None"
    )
    return response
