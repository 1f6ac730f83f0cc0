"""The pages' own JSON: read with the session, never with a token."""

from datetime import timedelta
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.access import Right
from accounts.tokens import issue_access
from devices.services.alerts import acknowledge_alert, resolve_alert
from realtime.dashboard import hall, state
from realtime.dashboard.guards import json_for

# Sockets never take the session cookie. A page buys what it shows them, for a short time: a
# token that leaks through a log or a proxy is worth little.
TOKEN_LIFETIME = timedelta(minutes=10)


@require_POST
@json_for()
def token(request: HttpRequest) -> JsonResponse:
    """Give the signed-in person a token for sockets and REST."""
    return JsonResponse(
        {
            "token": issue_access(request.user, lifetime=TOKEN_LIFETIME),
            "expires_in": int(TOKEN_LIFETIME.total_seconds()),
        }
    )


@require_GET
@json_for(Right.SEE_DASHBOARD)
def overview(request: HttpRequest) -> JsonResponse:
    """Return what the dashboard shows at the top, and the journal's position before it."""
    position = state.journal_position()
    processes = state.processes_seen_by(request.user)
    return JsonResponse(
        {
            "position": position,
            "connections": [process.as_item() for process in processes],
            "inProgress": state.items_of(state.operations_in_progress(request.user)),
            "latest": state.list_page(request.user, request.GET).as_json()["items"],
            **hall.counts(request.user),
        }
    )


@require_GET
@json_for(Right.SEE_DASHBOARD)
def surgeries(request: HttpRequest) -> JsonResponse:
    """Return a page of operations, filtered as the dashboard's own list."""
    return JsonResponse(state.list_page(request.user, request.GET).as_json())


@require_GET
@json_for(Right.SEE_DASHBOARD)
def surgery(request: HttpRequest, surgery_id: UUID) -> JsonResponse:
    """Return one operation with its feedback."""
    operation = state.one_operation(request.user, surgery_id)
    [item] = state.items_of([operation])
    return JsonResponse({**item, "feedback": operation.feedback})


@require_GET
@json_for(Right.READ_DEVICES)
def devices(request: HttpRequest) -> JsonResponse:
    """Return the devices as the page lists them, and how many have each status."""
    rows = hall.device_rows(request.user, request.GET, now=timezone.now())
    return JsonResponse(
        {"items": hall.items_of(rows), "statuses": hall.status_counts(request.user)}
    )


@require_GET
@json_for(Right.READ_DEVICES)
def device(request: HttpRequest, device_id: int) -> JsonResponse:
    """Return a device's status and how it came to it."""
    return JsonResponse(hall.facts_of(request.user, device_id))


@require_GET
@json_for(Right.READ_DEVICES)
def device_past(request: HttpRequest, device_id: int) -> JsonResponse:
    """Return the stored past of a device's metrics: metric -> unit, times, values."""
    return JsonResponse(hall.past_of(request.user, device_id, now=timezone.now()))


@require_GET
@json_for(Right.READ_DEVICES)
def alerts(request: HttpRequest) -> JsonResponse:
    """Return a page of alerts, filtered as the page's own list."""
    return JsonResponse(
        {
            **hall.alert_page(request.user, request.GET).as_json(),
            "severities": hall.open_alert_counts(request.user),
        }
    )


@require_POST
@json_for(Right.MANAGE_DEVICES)
def acknowledge(request: HttpRequest, alert_id: int) -> JsonResponse:
    """Acknowledge an alert as the signed-in person."""
    alert = acknowledge_alert(alert_id, by=request.user, now=timezone.now())
    return JsonResponse(hall.alert_item(alert))


@require_POST
@json_for(Right.MANAGE_DEVICES)
def resolve(request: HttpRequest, alert_id: int) -> JsonResponse:
    """Resolve an alert as the signed-in person."""
    alert = resolve_alert(alert_id, by=request.user, now=timezone.now())
    return JsonResponse(hall.alert_item(alert))
