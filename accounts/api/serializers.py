"""The bodies of the `auth` endpoints, with the surgery document's texts."""

from typing import Any

from django.core.exceptions import ValidationError as BadName
from rest_framework import serializers

from accounts.models import check_username

USERNAME_REQUIRED = "El username es obligatorio"
USERNAME_LENGTH = "El username debe tener entre 4 y 50 caracteres"
USERNAME_CHARACTERS = "El username contiene caracteres no válidos"
PASSWORD_REQUIRED = "La contraseña es obligatoria"
PASSWORD_LENGTH = "La contraseña debe tener entre 6 y 100 caracteres"
PASSWORD_CHARACTERS = "La contraseña contiene caracteres no válidos"

# At a login these only bound the work: the length rules are registration's.
LOGIN_USERNAME_MAX = 150
LOGIN_PASSWORD_MAX = 4096


def _refuse_odd_name(name: str) -> None:
    try:
        check_username(name)
    except BadName as error:
        raise serializers.ValidationError(USERNAME_CHARACTERS) from error


def _refuse_unstorable(password: str) -> None:
    """Refuse NUL and lone surrogates: JSON allows them, hashing or the database does not."""
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise serializers.ValidationError(PASSWORD_CHARACTERS) from error
    if "\0" in password:
        raise serializers.ValidationError(PASSWORD_CHARACTERS)


class _TextField(serializers.CharField):
    """A text that is taken as it is; one of spaces only counts as blank."""

    def __init__(self, *, required_text: str, length_text: str, type_text: str, **kw: Any) -> None:
        texts = {
            "required": required_text,
            "null": required_text,
            "blank": required_text,
            "min_length": length_text,
            "max_length": length_text,
            "invalid": type_text,
        }
        super().__init__(trim_whitespace=False, error_messages=texts, **kw)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str) and not data.strip():
            self.fail("blank")
        return super().run_validation(data)


def _username(**limits: int) -> _TextField:
    return _TextField(
        required_text=USERNAME_REQUIRED,
        length_text=USERNAME_LENGTH,
        type_text=USERNAME_CHARACTERS,
        validators=[_refuse_odd_name],
        **limits,
    )


def _password(**limits: int) -> _TextField:
    return _TextField(
        required_text=PASSWORD_REQUIRED,
        length_text=PASSWORD_LENGTH,
        type_text=PASSWORD_CHARACTERS,
        validators=[_refuse_unstorable],
        **limits,
    )


class LoginRequest(serializers.Serializer):
    username = _username(max_length=LOGIN_USERNAME_MAX)
    password = _password(max_length=LOGIN_PASSWORD_MAX)


class RegisterRequest(serializers.Serializer):
    """Other fields that a form may send (email, institution) are ignored."""

    username = _username(min_length=4, max_length=50)
    password = _password(min_length=6, max_length=100)


class RefreshRequest(serializers.Serializer):
    """Without a refresh token the request's own token is renewed."""

    refresh_token = serializers.CharField(required=False, allow_null=True, allow_blank=True)


class Message(serializers.Serializer):
    message = serializers.CharField()


class Error(serializers.Serializer):
    error = serializers.CharField()


class Me(serializers.Serializer):
    id = serializers.UUIDField()
    username = serializers.CharField()
    role = serializers.CharField()


class TokenOwner(Me):
    email = serializers.CharField(allow_blank=True)


class TokenData(serializers.Serializer):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.CharField(default="Bearer")
    expires_in = serializers.IntegerField(help_text="Seconds.")
    user = TokenOwner()


class LoginAnswer(serializers.Serializer):
    """Both documents' words: the surgery document's on top, the telemetry document's in `data`."""

    message = serializers.CharField()
    userId = serializers.UUIDField()
    username = serializers.CharField()
    role = serializers.CharField()
    token = serializers.CharField()
    refresh_token = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds.")
    data = TokenData()
