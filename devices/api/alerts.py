"""Alerts over REST: listed, raised by hand, acknowledged, resolved, counted."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.db.models.functions import ExtractHour
from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from devices import access
from devices.api.base import (
    DeviceView,
    checked_body,
    checked_query,
    described,
    device_in_path,
    number_in_path,
)
from devices.api.bodies.alerts import (
    ActiveCounts,
    AlertItem,
    AlertsQuery,
    AlertSummary,
    NewAlert,
    Note,
    alert_item,
)
from devices.api.bodies.common import HoursQuery, page_of
from devices.models import Alert, Severity
from devices.services.alerts import (
    NO_SUCH_ALERT,
    acknowledge_alert,
    raise_alert,
    resolve_alert,
)

TOP_DEVICES = 10
MANY = AlertItem(many=True)


class AlertList(DeviceView):
    """All alerts, newest first."""

    @described("alerts_list", tag="alerts", query=AlertsQuery, answer=MANY)
    def get(self, request: Request) -> Response:
        return _listed(request, access.alerts_visible_to(request.auth))

    @described(
        "alert_create", tag="alerts", body=NewAlert, answer=AlertItem, code=201, refusals=[404, 422]
    )
    def post(self, request: Request) -> Response:
        """Raise an alert by hand; everyone who listens hears it."""
        body = checked_body(NewAlert, request)
        device = access.access_device(request.auth, body["device_id"], to_write=True)
        raised = raise_alert(
            device_id=device.pk,
            title=body["title"],
            severity=body["severity"],
            alert_type=body["alert_type"],
            message=body.get("description") or "",
            metric=body.get("metric_name") or "",
            threshold_value=body.get("threshold_value"),
            actual_value=body.get("actual_value"),
            now=timezone.now(),
        )
        return Response(alert_item(raised), status.HTTP_201_CREATED)


class AlertsOfDevice(DeviceView):
    @described("alerts_of_device", tag="alerts", path=["device_id"], query=AlertsQuery, answer=MANY)
    def get(self, request: Request, device_id: str) -> Response:
        """List the alerts of one device, newest first."""
        device = device_in_path(request, device_id)
        return _listed(request, access.alerts_visible_to(request.auth).filter(device=device))


class AlertDetail(DeviceView):
    @described("alert", tag="alerts", path=["alert_id"], answer=AlertItem)
    def get(self, request: Request, alert_id: str) -> Response:
        """Show one alert."""
        alert = access.access_alert(request.auth, _number(alert_id))
        return Response(alert_item(alert))


class _AlertStep(DeviceView):
    """A step in an alert's life; both methods do the same."""

    step: Callable[..., Alert]

    def _take(self, request: Request, alert_id: str) -> Response:
        number = _number(alert_id)
        access.access_alert(request.auth, number, to_write=True)
        note = _note_of(request)
        type(self).step(number, by=request.user, note=note, now=timezone.now())
        return Response(alert_item(access.access_alert(request.auth, number)))


def _described_step(operation_id: str) -> Callable[[Any], Any]:
    return described(
        operation_id,
        tag="alerts",
        path=["alert_id"],
        query=Note,
        body=Note,
        answer=AlertItem,
        refusals=[409],
    )


class AlertAcknowledgement(_AlertStep):
    step = staticmethod(acknowledge_alert)

    @_described_step("alert_acknowledge")
    def patch(self, request: Request, alert_id: str) -> Response:
        """Say that somebody looks after it."""
        return self._take(request, alert_id)

    @_described_step("alert_acknowledge_post")
    def post(self, request: Request, alert_id: str) -> Response:
        """The same, as the wiki has it."""
        return self._take(request, alert_id)


class AlertResolution(_AlertStep):
    step = staticmethod(resolve_alert)

    @_described_step("alert_resolve")
    def patch(self, request: Request, alert_id: str) -> Response:
        """End an alert, acknowledged or not."""
        return self._take(request, alert_id)

    @_described_step("alert_resolve_post")
    def post(self, request: Request, alert_id: str) -> Response:
        """The same, as the wiki has it."""
        return self._take(request, alert_id)


class AlertsActive(DeviceView):
    @described("alerts_stats_active", tag="alerts", answer=ActiveCounts)
    def get(self, request: Request) -> Response:
        """Count the active alerts by severity."""
        active = access.alerts_visible_to(request.auth).filter(status=Alert.Status.ACTIVE)
        counts = dict.fromkeys(Severity.values, 0)
        counts |= dict(_plain(active).values_list("severity").annotate(Count("id")))
        return Response({**counts, "total": sum(counts.values())})


class AlertsSummary(DeviceView):
    @described("alerts_stats_summary", tag="alerts", query=HoursQuery, answer=AlertSummary)
    def get(self, request: Request) -> Response:
        """Count what was raised in the last hours."""
        hours = checked_query(HoursQuery, request)["hours"]
        since = timezone.now() - timedelta(hours=hours)
        raised = _plain(access.alerts_visible_to(request.auth).filter(created_at__gte=since))
        return Response({**_by_word(raised), "top_devices": _top_devices(raised)})


def _by_word(raised: QuerySet[Alert]) -> dict[str, Any]:
    """Count in one query: there are at most some hundred kinds, however many alerts."""
    kinds = ("severity", "status", "alert_type", "hour")
    counted = raised.annotate(hour=ExtractHour("created_at")).values_list(*kinds)
    totals: tuple[Counter[str], ...] = tuple(Counter() for _ in kinds)
    for *words, count in counted.annotate(Count("id")).order_by(*kinds):
        for total, word in zip(totals, words, strict=True):
            total[str(word)] += count
    by_severity, by_status, by_type, by_hour = map(dict, totals)
    return {
        "total_alerts": sum(by_severity.values()),
        "by_severity": by_severity,
        "by_status": by_status,
        "by_type": by_type,
        "alerts_per_hour": by_hour,
    }


def _top_devices(raised: QuerySet[Alert]) -> dict[str, int]:
    counted = raised.filter(device__isnull=False).values_list("device_id")
    most = counted.annotate(times=Count("id")).order_by("-times", "device_id")[:TOP_DEVICES]
    return {str(device_id): times for device_id, times in most}


def _plain(alerts: QuerySet[Alert]) -> QuerySet[Alert]:
    """Drop the order, which would make a group of each row, and whom nobody counts."""
    return alerts.order_by().select_related(None)


def _listed(request: Request, alerts: QuerySet[Alert]) -> Response:
    query = checked_query(AlertsQuery, request)
    for name in ("status", "severity"):
        if name in query:
            alerts = alerts.filter(**{name: query[name]})
    page = page_of(alerts, skip=query["skip"], limit=query["limit"])
    return Response([alert_item(each) for each in page])


def _number(alert_id: str) -> int:
    return number_in_path(alert_id, "alert_id", NO_SUCH_ALERT)


def _note_of(request: Request) -> str:
    """Return what stands in the body, or else in the query."""
    given = checked_query(Note, request)
    if request.data:
        given = {**given, **checked_body(Note, request)}
    return next((text for text in given.values() if text), "")
