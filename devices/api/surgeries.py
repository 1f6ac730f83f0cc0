"""Operations over REST: what the surgery document's server has, and the lists it lacks."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Q
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import Right, may
from devices import access
from devices.api.bodies.common import naive_utc
from devices.api.bodies.surgeries import (
    AnalysisSerializer,
    MetricsSerializer,
    SurgeryFilterSerializer,
    SurgeryPageSerializer,
    SurgerySerializer,
    TrajectorySerializer,
)
from devices.api.streaming import streamed
from devices.models import Surgery
from devices.scoring import metrics_of
from devices.services.surgeries import record_analysis
from realtime.core.apart import run_apart
from realtime.core.errors import Conflict, Forbidden, Invalid

NOT_FOR_YOUR_ROLE = "No tienes permiso para realizar esta acción."
NOT_A_UUID = "El id de la cirugía debe ser un UUID."
NO_MOVEMENTS = "La cirugía aún no tiene movimientos."

# `uuid.UUID` alone would also take braces, a prefix and misplaced dashes.
UUID_FORM = re.compile(r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE | re.ASCII)

ERRORS = {
    400: OpenApiResponse(description="A parameter or the body is wrong."),
    401: OpenApiResponse(description="No token, or a bad one."),
    403: OpenApiResponse(description="Not yours, or not for your role."),
    404: OpenApiResponse(description="There is no such operation."),
}


class SurgeryList(APIView):
    """Operations, newest first: own ones for surgeons, all for those who may see all."""

    @extend_schema(
        operation_id="surgeries_list",
        parameters=[SurgeryFilterSerializer],
        responses={200: SurgeryPageSerializer, **{c: ERRORS[c] for c in (400, 401)}},
    )
    def get(self, request: Request) -> Response:
        given = {name: value for name, value in request.query_params.items() if value}
        query = SurgeryFilterSerializer(data=given)
        query.is_valid(raise_exception=True)
        return Response(_page(request, **query.validated_data))


class SurgeryDetail(APIView):
    """One operation, as the list shows it."""

    @extend_schema(responses={200: SurgerySerializer, **ERRORS})
    def get(self, request: Request, surgery_id: str) -> Response:
        return Response(SurgerySerializer(_surgery(request, surgery_id)).data)


class SurgeryTrajectory(APIView):
    """Everything that was received so far, in whatever state the operation is."""

    @extend_schema(responses={200: TrajectorySerializer, **ERRORS})
    def get(self, request: Request, surgery_id: str) -> StreamingHttpResponse:
        parts = _trajectory(_surgery(request, surgery_id))
        return streamed(request, parts, "application/json")


class SurgeryAnalysis(APIView):
    """Where an AI service leaves its judgement; a later one replaces it."""

    @extend_schema(
        request=AnalysisSerializer,
        responses={
            204: OpenApiResponse(description="Kept."),
            **ERRORS,
            409: OpenApiResponse(description="The operation is not completed."),
        },
    )
    def post(self, request: Request, surgery_id: str) -> Response:
        if not may(request.auth, Right.POST_ANALYSIS):
            raise Forbidden(NOT_FOR_YOUR_ROLE)
        body = AnalysisSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        record_analysis(
            surgery_id=_uuid(surgery_id),
            score=body.validated_data["score"],
            feedback=body.validated_data["feedback"],
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class SurgeryMetrics(APIView):
    """How the instrument moved, computed from what was received so far."""

    @extend_schema(
        responses={
            200: MetricsSerializer,
            **ERRORS,
            409: OpenApiResponse(description="There is no movement yet."),
            503: OpenApiResponse(description="Too many computations are waiting."),
        }
    )
    def get(self, request: Request, surgery_id: str) -> Response:
        surgery = _surgery(request, surgery_id)
        payloads = access.payloads_of(surgery)
        if not payloads:
            raise Conflict(NO_MOVEMENTS)
        return Response({"surgeryId": str(surgery.id), **run_apart(metrics_of, payloads)})


def _page(
    request: Request, *, page: int, size: int, status: str = "", surgeon: str = ""
) -> dict[str, Any]:
    surgeries = access.surgeries_visible_to(request.auth)
    if status:
        surgeries = surgeries.filter(status=status)
    if surgeon:
        is_theirs = Q(surgeon__username=surgeon)
        if UUID_FORM.match(surgeon):
            is_theirs |= Q(surgeon_id=UUID(surgeon))
        surgeries = surgeries.filter(is_theirs)
    first = (page - 1) * size
    return {
        "items": SurgerySerializer(surgeries[first : first + size], many=True).data,
        "page": page,
        "size": size,
        "total": surgeries.count(),
    }


def _surgery(request: Request, surgery_id: str) -> Surgery:
    return access.access_surgery(request.auth, _uuid(surgery_id))


def _uuid(text: str) -> UUID:
    if not UUID_FORM.match(text):
        raise Invalid(NOT_A_UUID)
    return UUID(text)


def _trajectory(surgery: Surgery) -> Iterator[bytes]:
    """Yield the body: six keys in the document's order, the chunks as they are stored."""
    head = {
        "surgeryId": surgery.id,
        "startTime": naive_utc(surgery.started_at),
        "endTime": naive_utc(surgery.ended_at),
    }
    tail = {"score": surgery.score, "feedback": surgery.feedback}
    yield msgspec.json.encode(head)[:-1] + b',"movements":'
    yield from access.trajectory_json(surgery)
    yield b"," + msgspec.json.encode(tail)[1:]
