"""What the pages show, read once for HTML and JSON alike, under the rights of who asks."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.http import QueryDict

from accounts.access import Right, may
from accounts.models import User
from devices.access import access_surgery, surgeries_visible_to
from devices.api.bodies.surgeries import SurgerySerializer
from devices.models import Surgery
from realtime import journal, nodes

PAGE_SIZE = 20
PAGE_SIZE_MAX = 100
SURGEON_LENGTH = 150
# A wall shows a dozen in 3D and counts the rest; no page needs more at once.
IN_PROGRESS_MAX = 200

ENDPOINT_LABELS = {
    "simulation": "Simulators",
    "ai": "Analysis services",
    "telemetry": "Devices and watchers",
    "pubsub": "Dashboards and applications",
}


@dataclass(frozen=True)
class Process:
    """One serving process and what is connected to it."""

    node: str
    place: str
    started_at: datetime
    heartbeat_at: datetime
    connections: dict[str, int]

    @property
    def open(self) -> int:
        return sum(self.connections.values())

    @property
    def endpoints(self) -> str:
        """Read like "ai 1 · simulation 3", without the empty ones."""
        used = sorted((name, count) for name, count in self.connections.items() if count)
        return " · ".join(f"{name} {count}" for name, count in used) or "none"

    def as_item(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "place": self.place,
            "startedAt": self.started_at.isoformat(),
            "heartbeatAt": self.heartbeat_at.isoformat(),
            "connections": self.connections,
        }


@dataclass(frozen=True)
class ListPage:
    """One page of the filtered list, and the filters as they were understood."""

    page: Page
    size: int
    status: str
    surgeon: str
    query: str

    def as_json(self) -> dict[str, Any]:
        return {
            "items": items_of(self.page),
            "page": self.page.number,
            "size": self.size,
            "total": self.page.paginator.count,
        }


def processes_seen_by(user: User) -> list[Process]:
    """Return the living processes; who sees only their own operations sees none of them."""
    if not may(user, Right.READ_ALL_SURGERIES):
        return []
    return [
        Process(
            node=report["node"],
            place=f"{report['host']}:{report['pid']}",
            started_at=report["started_at"],
            heartbeat_at=report["heartbeat_at"],
            connections=report["connections"],
        )
        for report in nodes.connections_by_node()
    ]


def connections_by_endpoint(processes: list[Process]) -> list[dict[str, Any]]:
    """Return one tile for every endpoint we have a name for."""
    return [
        {
            "endpoint": endpoint,
            "label": label,
            "open": sum(process.connections.get(endpoint, 0) for process in processes),
        }
        for endpoint, label in ENDPOINT_LABELS.items()
    ]


def operations_in_progress(user: User) -> list[Surgery]:
    running = surgeries_visible_to(user).filter(status=Surgery.Status.IN_PROGRESS)
    return list(running[:IN_PROGRESS_MAX])


def list_page(user: User, query: QueryDict) -> ListPage:
    """Return the page that the query's `status`, `surgeon`, `page` and `size` ask for.

    What cannot be understood is left out, as on any list that a person types into.
    """
    surgeries = surgeries_visible_to(user)
    status = query.get("status", "")
    if status in Surgery.Status.values:
        surgeries = surgeries.filter(status=status)
    else:
        status = ""
    surgeon = query.get("surgeon", "").replace("\0", "").strip()[:SURGEON_LENGTH]
    if surgeon:
        surgeries = surgeries.filter(surgeon__username__icontains=surgeon)
    size = _whole(query.get("size", ""), PAGE_SIZE, most=PAGE_SIZE_MAX)
    page = Paginator(surgeries, size).get_page(query.get("page"))
    page.object_list = [with_clock(surgery) for surgery in page.object_list]
    filters = {"status": status, "surgeon": surgeon}
    kept = urlencode({name: value for name, value in filters.items() if value})
    return ListPage(page, size, status, surgeon, kept)


def one_operation(user: User, surgery_id: UUID) -> Surgery:
    """Return one operation. Raises NotFound or Forbidden."""
    return with_clock(access_surgery(user, surgery_id))


def items_of(surgeries: Iterable[Surgery]) -> list[dict[str, Any]]:
    """Return operations in the shape of the REST list."""
    return [dict(SurgerySerializer(surgery).data) for surgery in surgeries]


def journal_position() -> str:
    return str(journal.head())


def with_clock(surgery: Surgery) -> Surgery:
    """Add `clock`: 75 s is "1:15", 3700 s "1:01:40", a dash while nobody knows."""
    surgery.clock = "–"  # noqa: RUF001
    if surgery.duration_seconds is not None:
        minutes, seconds = divmod(surgery.duration_seconds, 60)
        hours, minutes = divmod(minutes, 60)
        surgery.clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return surgery


def _whole(text: str, default: int, *, most: int) -> int:
    if not text.isascii() or not text.isdigit():
        return default
    return min(max(1, int(text[:9])), most)
