"""Connections in all processes: looked at by a roll call, ended through the journal."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from accounts.models import User
from accounts.roles import ENDPOINTS
from realtime import nodes
from realtime.admin.base import ReadOnlyAdmin
from realtime.connections import end_connection, end_connections_of
from realtime.core.errors import Unavailable
from realtime.models import Connection
from realtime.rollcall import ANSWER_SECONDS, Question, Roll
from realtime.runtime import runtime

# One page shows them all: so many, whatever the processes have.
ROWS_MAX = 1_000


class EndpointFilter(DropdownFilter):
    """By what the connection was opened for."""

    title = "endpoint"
    parameter_name = "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(endpoint, endpoint) for endpoint in ENDPOINTS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class RollList(ChangeList):
    """A list of what the processes answer, where Django expects rows of a table."""

    notes: list[str]
    summary = ""

    def get_results(self, request: HttpRequest) -> None:
        question = Question(search=self.query, endpoint=self.params.get("endpoint", ""))
        rows, self.summary, self.notes = look_up(question)
        self.result_list = rows
        self.result_count = self.full_result_count = len(rows)
        self.show_full_result_count = True
        self.show_admin_actions = bool(rows)
        self.can_show_all, self.multi_page = True, False
        self.paginator = Paginator(rows, ROWS_MAX)


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    """Who may look needs the permission for it, who may end connections another one."""

    list_display = (
        "user",
        "endpoint_label",
        "address",
        "since",
        "subscriptions",
        "reads",
        "received",
        "sent",
        "process",
    )
    list_display_links = None
    list_filter = (EndpointFilter,)
    list_before_template = "admin/realtime/roll.html"
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = "A user, an address, or a connection's id"
    actions = ("end", "end_all_of_user")

    def get_urls(self) -> list[URLPattern]:
        """There is the list alone: a connection has no page of its own."""
        return [url for url in super().get_urls() if url.name and url.name.endswith("_changelist")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        """No row is one."""
        return Connection.objects.none()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RollList

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("realtime.end_connection")

    # --- Actions ----------------------------------------------------------------------------

    @admin.action(description="Disconnect", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """End the chosen connections."""
        chosen = self._chosen(request)
        for row in chosen:
            with transaction.atomic():
                end_connection(row.pk, by=request.user.get_username())
                self.log_change(request, row, "Disconnected.")
        self._say(request, f"Connections ended: {len(chosen)}.", bool(chosen))

    @admin.action(description="Disconnect user, everywhere", permissions=["end"])
    def end_all_of_user(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """End all connections of those whose connections are chosen. They may come back."""
        users = {row.line.user_id for row in self._chosen(request)}
        found = User.objects.filter(pk__in=users)
        for user in found:
            with transaction.atomic():
                end_connections_of(user.pk, by=request.user.get_username())
                self.log_change(request, user, "Disconnected, all connections.")
        names = ", ".join(user.username for user in found)
        self._say(request, f"All connections ended of: {names}.", bool(names))

    def _chosen(self, request: HttpRequest) -> list[Connection]:
        """Return the chosen connections that are still open."""
        ids = request.POST.getlist("_selected_action")[:ROWS_MAX]
        return look_up(Question(ids=ids))[0]

    def _say(self, request: HttpRequest, done: str, is_done: bool) -> None:
        if is_done:
            self.message_user(request, done, messages.SUCCESS)
        else:
            self.message_user(request, "They have ended already.", messages.WARNING)

    # --- What is shown ----------------------------------------------------------------------

    @display(description="user", header=True)
    def user(self, row: Connection) -> tuple[str, str]:
        return row.line.username, row.line.role

    @admin.display(description="dialect")
    def endpoint_label(self, row: Connection) -> str:
        line = row.line
        return (
            line.dialect if line.dialect == line.endpoint else f"{line.dialect} ({line.endpoint})"
        )

    @admin.display(description="address")
    def address(self, row: Connection) -> str:
        return row.line.address or "unknown"

    @admin.display(description="since")
    def since(self, row: Connection) -> datetime:
        return datetime.fromtimestamp(row.line.opened_at, UTC)

    @admin.display(description="subscriptions")
    def subscriptions(self, row: Connection) -> str:
        line = row.line
        if not line.subscriptions:
            return "none"
        more = line.subscriptions - len(line.patterns)
        return ", ".join(line.patterns) + (f" and {more} more" if more else "")

    @display(description="state", label={"reading": "success", "blocked": "danger"})
    def reads(self, row: Connection) -> str:
        return "blocked" if row.line.is_blocked else "reading"

    @admin.display(description="received")
    def received(self, row: Connection) -> int:
        return int(row.line.messages_in)

    @admin.display(description="sent")
    def sent(self, row: Connection) -> int:
        return int(row.line.messages_out)

    @admin.display(description="process")
    def process(self, row: Connection) -> str:
        return f"{row.host}:{row.pid}"


def look_up(question: Question) -> tuple[list[Connection], str, list[str]]:
    """Ask all processes; return the connections, what they are, and what is not shown."""
    now = timezone.now()
    living = {report["node"]: report for report in nodes.connections_by_node(now=now)}
    try:
        roll = runtime.oversight.roll_call.ask(question, own=runtime.node_id, others=living)
    except Unavailable as error:
        text = str(error)
        return [], "No process was asked.", [f"{text[0].upper()}{text[1:]}."]
    rows = []
    for node, answer in roll.answers.items():
        host, pid = (living[node]["host"], living[node]["pid"]) if node in living else (node, 0)
        for line in answer.lines:
            row = Connection(id=line.id, host=host, pid=pid)
            row.line = line
            rows.append(row)
    rows.sort(key=lambda row: (row.line.username, row.line.opened_at, row.pk))
    summary = (
        f"{_counted(roll.total, 'connection', 'connections')} in "
        f"{_counted(len(roll.answers), 'process', 'processes')}, asked just now."
    )
    return rows[:ROWS_MAX], summary, _notes(roll, min(roll.shown, ROWS_MAX), living)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _notes(roll: Roll, shown: int, living: dict[str, nodes.NodeReport]) -> list[str]:
    notes = []
    for node in roll.silent:
        name = f"{living[node]['host']}:{living[node]['pid']}" if node in living else node
        notes.append(
            f"Process {name} did not answer within {ANSWER_SECONDS:g} s: what it has is missing."
        )
    if roll.total > shown:
        notes.append(f"{shown} of {roll.total} are shown: search to see the others.")
    if runtime.is_layer_deaf:
        notes.append("The channel layer does not answer: other processes cannot be asked.")
    return notes
