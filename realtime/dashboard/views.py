"""The pages. They are useful before scripts run; scripts keep them current."""

from uuid import UUID

from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import Right, may
from realtime.dashboard import hall, state
from realtime.dashboard.guards import page_for


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html")


class SignIn(LoginView):
    """Signs in for the pages; whoever is signed in may do so again as somebody else."""

    template_name = "registration/login.html"


class SignOut(LogoutView):
    """Ends the session; POST only."""


@require_safe
@page_for(Right.SEE_DASHBOARD)
def overview(request: HttpRequest) -> HttpResponse:
    """Show who is connected, what is in progress, and the list of operations."""
    processes = state.processes_seen_by(request.user)
    in_progress = state.operations_in_progress(request.user)
    context = {
        "section": "dashboard",
        "sees_everyone": may(request.user, Right.READ_ALL_SURGERIES),
        "processes": processes,
        "endpoints": state.connections_by_endpoint(processes),
        "connections": sum(process.open for process in processes),
        "in_progress": in_progress,
        "in_progress_items": state.items_of(in_progress),
        "list": state.list_page(request.user, request.GET),
        **hall.counts(request.user),
    }
    return render(request, "dashboard/overview.html", context)


@require_safe
@page_for(Right.SEE_DASHBOARD)
def operation(request: HttpRequest, surgery_id: UUID) -> HttpResponse:
    """Show one operation: its facts at once, its replay and metrics by script."""
    shown = state.one_operation(request.user, surgery_id)
    context = {"section": "dashboard", "operation": shown}
    return render(request, "dashboard/operation.html", context)


@require_safe
@page_for(Right.READ_DEVICES)
def devices(request: HttpRequest) -> HttpResponse:
    """Show every device with its status and last values."""
    rows = hall.device_rows(request.user, request.GET, now=timezone.now())
    context = {
        "section": "devices",
        "rows": rows,
        "statuses": hall.status_counts(request.user),
        "status": hall.status_in(request.GET),
        "search": request.GET.get("search", ""),
    }
    return render(request, "dashboard/devices.html", context)


@require_safe
@page_for(Right.READ_DEVICES)
def device(request: HttpRequest, device_id: int) -> HttpResponse:
    """Show one device: its facts and alerts at once, its charts by script."""
    context = {
        "section": "devices",
        "may_act": hall.may_act(request.user),
        **hall.one_device(request.user, device_id, now=timezone.now()),
    }
    return render(request, "dashboard/device.html", context)


@require_safe
@page_for(Right.READ_DEVICES)
def alerts(request: HttpRequest) -> HttpResponse:
    """Show the alerts that the address asks for, the open ones at first."""
    context = {
        "section": "alerts",
        "list": hall.alert_page(request.user, request.GET),
        "severities": hall.open_alert_counts(request.user),
        "may_act": hall.may_act(request.user),
    }
    return render(request, "dashboard/alerts.html", context)


@require_safe
@page_for(Right.READ_DEVICES)
def system(request: HttpRequest) -> HttpResponse:
    """Show how this deployment fares."""
    processes = state.processes_seen_by(request.user)
    context = {
        "section": "system",
        "processes": processes,
        "connections": sum(process.open for process in processes),
    }
    return render(request, "dashboard/system.html", context)


@require_safe
def simulator(request: HttpRequest) -> HttpResponse:
    """Let a surgeon operate; ask everyone else to sign in as one."""
    context = {
        "section": "simulator",
        "is_surgeon": may(request.user, Right.OPERATE_SIMULATOR),
    }
    return render(request, "simulator/simulator.html", context)
