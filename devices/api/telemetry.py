"""Readings over REST: stored and pushed live in one call; rows, last values, history."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from devices import access, history
from devices.api.base import (
    DeviceView,
    checked_body,
    checked_list,
    checked_query,
    described,
    device_in_path,
)
from devices.api.bodies.batch import plain_readings
from devices.api.bodies.common import naive_utc
from devices.api.bodies.telemetry import (
    BATCH_MAX,
    ROWS_MAX,
    BatchAnswer,
    HistoryAnswer,
    HistoryQuery,
    LatestAnswer,
    LatestQuery,
    NewReading,
    NewReadingOfDevice,
    NewReadings,
    ReadingItem,
    ReadingsQuery,
    TimeseriesAnswer,
    TimeseriesQuery,
    reading_item,
)
from devices.api.errors import Unprocessable, mistake
from devices.api.fields import TEXTS
from devices.models import Device
from devices.models.fields import MICROSECOND
from devices.readings import Report, Stored
from devices.services.rows import NO_SUCH_DEVICE
from devices.services.telemetry import record_reports
from realtime.core.errors import Invalid, NotFound
from realtime.core.events import Measured

DAY = timedelta(days=1)
NOTHING = "No telemetry data found"
ENDS_FIRST = "end_time has to lie after start_time"


class DeviceTelemetry(DeviceView):
    """The readings of one device."""

    for_devices = frozenset({"GET", "POST"})

    @described(
        "device_telemetry",
        tag="telemetry",
        path=["device_id"],
        query=ReadingsQuery,
        answer=ReadingItem(many=True),
    )
    def get(self, request: Request, device_id: str) -> Response:
        """List the readings of the last hours, newest first."""
        device = device_in_path(request, device_id)
        query = checked_query(ReadingsQuery, request)
        since = timezone.now() - timedelta(hours=query["hours"])
        rows = history.newest_rows(device.pk, limit=query["limit"], since=since)
        return Response([reading_item(each) for each in rows])

    @described(
        "device_telemetry_create",
        tag="telemetry",
        path=["device_id"],
        body=NewReading,
        answer=ReadingItem,
        code=201,
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Store a reading; it is told to everyone who listens."""
        device = device_in_path(request, device_id, to_write=True)
        [stored] = _record([(device, checked_body(NewReading, request))])
        return Response(reading_item(stored), status.HTTP_201_CREATED)


class DeviceTelemetryBatch(DeviceView):
    for_devices = frozenset({"POST"})

    @described(
        "device_telemetry_batch",
        tag="telemetry",
        path=["device_id"],
        body=NewReading(many=True),
        answer=ReadingItem(many=True),
        code=201,
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Store a bare array of 1 to 1,000 readings, all or none."""
        device = device_in_path(request, device_id, to_write=True)
        items = _readings(request.data)
        stored = _record([(device, item) for item in items])
        return Response([reading_item(each) for each in stored], status.HTTP_201_CREATED)


class Telemetry(DeviceView):
    for_devices = frozenset({"POST"})

    @described(
        "telemetry_create",
        tag="telemetry",
        body=NewReadingOfDevice,
        answer=ReadingItem,
        code=201,
        refusals=[404, 422],
    )
    def post(self, request: Request) -> Response:
        """Store a reading of the device that the body names."""
        item = checked_body(NewReadingOfDevice, request)
        device = access.access_device(request.auth, item["device_id"], to_write=True)
        [stored] = _record([(device, item)])
        return Response(reading_item(stored), status.HTTP_201_CREATED)


class TelemetryBatch(DeviceView):
    for_devices = frozenset({"POST"})

    @described(
        "telemetry_batch",
        tag="telemetry",
        body=NewReadings,
        answer=BatchAnswer,
        code=201,
        refusals=[422],
    )
    def post(self, request: Request) -> Response:
        """Store readings of several devices; those of devices that are not there are told."""
        items = _readings(_telemetry_data(request), needs_device=True)
        devices = _devices_of(request, items)
        fitting = [(devices[i["device_id"]], i) for i in items if i["device_id"] in devices]
        stored = _record(fitting) if fitting else []
        errors = [
            {"index": index, "detail": NO_SUCH_DEVICE}
            for index, item in enumerate(items)
            if item["device_id"] not in devices
        ]
        body = {
            "submitted": len(stored),
            "failed": len(errors),
            "ids": [each.id for each in stored],
            "errors": errors,
        }
        return Response(body, status.HTTP_201_CREATED)


class TelemetryLatest(DeviceView):
    for_devices = frozenset({"GET"})

    @described("telemetry_latest", tag="telemetry", query=LatestQuery, answer=LatestAnswer)
    def get(self, request: Request) -> Response:
        """Show the last value of each metric of a device."""
        query = checked_query(LatestQuery, request)
        device = access.access_device(request.auth, query["device_id"])
        wanted = {name for name in query.get("metrics", "").split(",") if name}
        rows = history.newest_stored(device.pk, now=timezone.now())
        shown = [each for each in rows if not wanted or each.metric in wanted]
        last = max((each.at for each in shown), default=None)
        return Response(
            {
                "device_id": device.pk,
                "telemetry": {each.metric: _latest_item(each) for each in shown},
                "last_updated": naive_utc(last),
            }
        )


class TelemetryHistory(DeviceView):
    for_devices = frozenset({"GET"})

    @described("telemetry_history", tag="telemetry", query=HistoryQuery, answer=HistoryAnswer)
    def get(self, request: Request) -> Response:
        """Show one metric in steps, also where only the hourly roll-ups are left."""
        query = checked_query(HistoryQuery, request)
        device = access.access_device(request.auth, query["device_id"])
        since, until = span_of(query, now=timezone.now())
        found = history.intervals(
            device.pk, query["metric"], interval=query["interval"], since=since, until=until
        )
        return Response(
            {
                "device_id": device.pk,
                "metric": query["metric"],
                "interval": query["interval"],
                "aggregation": query["aggregation"],
                "start_time": naive_utc(since),
                "end_time": naive_utc(until),
                "data_points": [_point_item(each.point(query["aggregation"])) for each in found],
                "statistics": history.statistics_of(found),
            }
        )


class DeviceTimeseries(DeviceView):
    for_devices = frozenset({"GET"})

    @described(
        "device_timeseries",
        tag="telemetry",
        path=["device_id"],
        query=TimeseriesQuery,
        answer=TimeseriesAnswer,
    )
    def get(self, request: Request, device_id: str) -> Response:
        """Show one metric of the last hours, oldest first, the newest 10,000 at most."""
        device = device_in_path(request, device_id)
        query = checked_query(TimeseriesQuery, request)
        since = timezone.now() - timedelta(hours=query["hours"])
        rows = history.newest_rows(device.pk, limit=ROWS_MAX, since=since, metric=query["metric"])
        if not rows:
            raise NotFound(NOTHING)
        return Response(
            {
                "device_id": device.pk,
                "metric": query["metric"],
                "time_range_hours": query["hours"],
                "data_points": len(rows),
                "data": [_timed(each) for each in reversed(rows)],
            }
        )


def span_of(query: dict[str, Any], *, now: datetime) -> tuple[datetime, datetime]:
    """Return from when until when; a day, until now, where the query does not say."""
    until = query.get("end_time") or now
    since = query.get("start_time") or until - DAY
    if since >= until:
        raise Unprocessable([mistake("value_error", ["query", "end_time"], ENDS_FIRST, None)])
    return since, until


def _readings(given: Any, *, needs_device: bool = False) -> list[dict[str, Any]]:
    """Return the checked items of a batch. Raises Unprocessable."""
    plain = plain_readings(given, most=BATCH_MAX, needs_device=needs_device)
    if plain is not None:
        return plain
    return checked_list(NewReadingOfDevice if needs_device else NewReading, given, most=BATCH_MAX)


def _telemetry_data(request: Request) -> Any:
    """Return the array of the wiki's batch; a bare array will do as well."""
    given = request.data
    if isinstance(given, dict) and "telemetry_data" in given:
        return given["telemetry_data"]
    if isinstance(given, dict):
        wrong = mistake("missing", ["body", "telemetry_data"], TEXTS["missing"], given)
        raise Unprocessable([wrong])
    return given


def _devices_of(request: Request, items: Iterable[dict[str, Any]]) -> dict[int, Device]:
    """Return those devices of a batch that whoever asks may write readings of, by number."""
    visible = access.devices_visible_to(request.auth)
    return visible.in_bulk({item["device_id"] for item in items})


def _record(items: list[tuple[Device, dict[str, Any]]]) -> list[Stored]:
    """Store readings, each a message of its own. Raises NotFound and Invalid."""
    now = timezone.now()
    try:
        reports = [
            # Two of one metric that say no time are two readings.
            _report(device, item, at=now + index * MICROSECOND, now=now)
            for index, (device, item) in enumerate(items)
        ]
        return record_reports(reports, now=now)
    except Invalid as error:
        # The only thing left to refuse is one metric too many; its name is the field.
        raise Invalid(str(error), field="metric_name") from error


def _report(device: Device, item: dict[str, Any], *, at: datetime, now: datetime) -> Report:
    measured = Measured(
        value=item["metric_value"],
        unit=item.get("unit") or "",
        at=item.get("timestamp") or at,
    )
    return Report(
        device_id=device.pk,
        account_id=device.account_id,
        metrics={item["metric_name"]: measured},
        received_at=now,
    )


def _point_item(point: history.Point) -> dict[str, Any]:
    return {"timestamp": naive_utc(point.at), "value": point.value, "count": point.count}


def _latest_item(stored: Stored) -> dict[str, Any]:
    return {**_timed(stored), "id": stored.id}


def _timed(stored: Stored) -> dict[str, Any]:
    return {
        "timestamp": naive_utc(stored.at),
        "value": stored.value,
        "unit": stored.unit or None,
    }
