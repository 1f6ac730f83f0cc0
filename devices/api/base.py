"""What all views of devices share: rights, checked input, errors in their words, description."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.access import Right, may
from devices import access
from devices.api.errors import Unprocessable, explain_plainly, mistake, mistakes_of
from devices.api.fields import ID_MAX, INTEGER, TEXTS
from devices.models import Device
from devices.services.rows import NO_SUCH_DEVICE
from realtime.core.errors import Forbidden, NotFound

NOT_FOR_YOUR_ROLE = "Your role may not do this"


class AlwaysJson(DefaultContentNegotiation):
    """Whatever a client says it accepts; `format` is a parameter like any other here."""

    def select_renderer(
        self, request: Request, renderers: list[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


class DeviceView(APIView):
    """Reading needs READ_DEVICES, everything else MANAGE_DEVICES.

    With the methods in `for_devices` a device may ask too: the view fetches what it touches
    through `devices.access`, which lets a device have its own only.
    """

    content_negotiation_class = AlwaysJson
    for_devices: ClassVar[frozenset[str]] = frozenset()

    def get_exception_handler(self) -> Callable[..., Any]:
        return explain_plainly

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        reads = request.method in SAFE_METHODS
        if may(request.auth, Right.READ_DEVICES if reads else Right.MANAGE_DEVICES):
            return
        if request.method in self.for_devices and may(request.auth, Right.REPORT_OWN_READINGS):
            return
        raise Forbidden(NOT_FOR_YOUR_ROLE)


def checked_body(
    form: type[serializers.Serializer], request: Request, *, partial: bool = False
) -> dict[str, Any]:
    """Return the body's checked fields. Raises Unprocessable."""
    return _checked(form(data=request.data, partial=partial), "body")


def checked_list(form: type[serializers.Serializer], given: Any, *, most: int) -> list[Any]:
    """Return the checked items of a bare array of 1 to `most`. Raises Unprocessable."""
    if not isinstance(given, list):
        raise Unprocessable([mistake("list_type", ["body"], TEXTS["list_type"], given)])
    if len(given) > most:
        text = TEXTS["too_long"].format(max_length=most)
        raise Unprocessable([mistake("too_long", ["body"], text, len(given))])
    if not given:
        text = TEXTS["too_short"].format(min_length=1)
        raise Unprocessable([mistake("too_short", ["body"], text, given)])
    return _checked(form(data=given, many=True), "body")


def checked_query(form: type[serializers.Serializer], request: Request) -> dict[str, Any]:
    """Return the query's checked parameters; an empty one counts as absent."""
    given = {name: value for name, value in request.query_params.items() if value}
    return _checked(form(data=given), "query")


def _checked(form: Any, place: str) -> Any:
    if not form.is_valid():
        raise Unprocessable(mistakes_of(form.errors, place=place, given=form.initial_data))
    return form.validated_data


def given_in_query_or_body(
    in_query: type[serializers.Serializer],
    in_body: type[serializers.Serializer],
    request: Request,
    *,
    needed: str,
) -> dict[str, Any]:
    """Return what the query and the body say together, the query first.

    The document asks for a query, its clients send a body. Raises Unprocessable, also when
    neither says what is `needed`.
    """
    given = checked_query(in_query, request)
    if request.data:
        given = {**checked_body(in_body, request), **given}
    if needed not in given:
        raise Unprocessable([mistake("missing", ["query", needed], TEXTS["missing"], None)])
    return given


def device_in_path(request: Request, device_id: str, *, to_write: bool = False) -> Device:
    """Return the device that a path names, to whom may have it.

    `to_write` is for what a device says of itself. Raises Unprocessable, NotFound and Forbidden.
    """
    number = number_in_path(device_id, "device_id", NO_SUCH_DEVICE)
    return access.access_device(request.auth, number, to_write=to_write)


def number_in_path(text: str, name: str, missing: str) -> int:
    """Return the number of a row from a path.

    Raises Unprocessable when it is none, and NotFound with the text `missing` when no row can
    have it.
    """
    if not INTEGER.match(text):
        raise Unprocessable([mistake("int_parsing", ["path", name], TEXTS["int_parsing"], text)])
    number = int(text)
    if not 1 <= number <= ID_MAX:
        raise NotFound(missing)
    return number


class Detail(serializers.Serializer):
    """Why a request was refused."""

    detail = serializers.CharField()


class MistakeItem(serializers.Serializer):
    type = serializers.CharField()
    loc = serializers.ListField(child=serializers.CharField())
    msg = serializers.CharField()
    input = serializers.JSONField(allow_null=True)


class Mistakes(serializers.Serializer):
    """What is wrong with a path, a query or a body, one entry for each mistake."""

    detail = MistakeItem(many=True)


REFUSALS = {
    400: OpenApiResponse(Detail, "The value is not allowed here."),
    401: OpenApiResponse(Detail, "No token, or a bad one."),
    403: OpenApiResponse(Detail, "Not yours, or not for your role."),
    404: OpenApiResponse(Detail, "There is no such thing."),
    409: OpenApiResponse(Detail, "Its state does not allow this any more."),
    422: OpenApiResponse(Mistakes, "The path, the query or the body has another shape."),
    503: OpenApiResponse(Detail, "Temporarily unavailable."),
}


def described(
    operation_id: str,
    *,
    answer: Any = None,
    code: int = 200,
    body: Any = None,
    query: Any = None,
    refusals: Iterable[int] = (),
    path: Iterable[str] = (),
    tag: str,
    is_public: bool = False,
) -> Callable[[Any], Any]:
    """Describe one method of a view; `path` names the numbers in its path."""
    numbers = [OpenApiParameter(name, OpenApiTypes.INT64, "path") for name in path]
    codes = {
        *(() if is_public else (401, 403)),
        *refusals,
        *((404, 422) if path else ()),
        *((422,) if query else ()),
    }
    return extend_schema(
        operation_id=operation_id,
        tags=[tag],
        auth=[] if is_public else None,
        request=body,
        parameters=[*numbers, *([query] if query else ())],
        responses={
            code: answer or OpenApiResponse(description="Done."),
            **{each: REFUSALS[each] for each in sorted(codes)},
        },
    )
