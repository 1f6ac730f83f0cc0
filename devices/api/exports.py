"""Readings written out over REST, however many, as CSV or JSON Lines."""

from collections.abc import Iterable
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework.request import Request

from devices import access
from devices.api.base import DeviceView, checked_query, described, device_in_path
from devices.api.bodies.telemetry import ExportQuery, ExportsQuery
from devices.api.streaming import streamed
from devices.export import export_readings

CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
EXPORTED = OpenApiResponse(OpenApiTypes.STR, "The readings, one for each line.")


class DeviceExport(DeviceView):
    for_devices = frozenset({"GET"})

    @described(
        "device_telemetry_export",
        tag="telemetry",
        path=["device_id"],
        query=ExportQuery,
        answer=EXPORTED,
        refusals=[503],
    )
    def get(self, request: Request, device_id: str) -> StreamingHttpResponse:
        """Write out the readings of one device: metric by metric, each oldest first."""
        device = device_in_path(request, device_id)
        return _exported(request, [device.pk], checked_query(ExportQuery, request))


class TelemetryExport(DeviceView):
    for_devices = frozenset({"GET"})

    @described(
        "telemetry_export",
        tag="telemetry",
        query=ExportsQuery,
        answer=EXPORTED,
        refusals=[404, 503],
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """The same for the device that the query names, or for all in service."""
        query = checked_query(ExportsQuery, request)
        device_id = query.pop("device_id", None)
        if device_id is not None:
            ids = [access.access_device(request.auth, device_id).pk]
        else:
            ids = list(access.devices_visible_to(request.auth).values_list("pk", flat=True))
        return _exported(request, ids, query)


def _exported(
    request: Request, device_ids: Iterable[int], query: dict[str, Any]
) -> StreamingHttpResponse:
    """Raises Unavailable when too many are written out already."""
    format_ = query["format"]
    parts = export_readings(
        format=format_,
        device_ids=device_ids,
        metrics=[query["metric"]] if "metric" in query else None,
        since=query.get("start_time"),
        until=query.get("end_time"),
    )
    response = streamed(request, parts, CONTENT_TYPES[format_])
    response["Content-Disposition"] = f'attachment; filename="readings.{format_}"'
    return response
