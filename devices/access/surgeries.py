"""Operations and their trajectories: who gets which row."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from django.db.models import BigIntegerField, Case, F, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Coalesce

from accounts.access import Right, may
from accounts.models import User
from devices.access.people import id_of
from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import NO_SUCH_SURGERY, NOT_YOURS
from devices.trajectory import Link
from realtime.core.errors import Forbidden, NotFound
from realtime.core.session import Principal

# A page of chunks is read in one short query: 64 of them are about 300 kB.
CHUNKS_PER_QUERY = 64


def surgeries_visible_to(who: Principal | User) -> QuerySet[Surgery]:
    """Return every operation `who` may see, newest first; each also has `movements_now`."""
    if may(who, Right.READ_ALL_SURGERIES):
        return _readable()
    if may(who, Right.READ_OWN_SURGERIES):
        return _readable().filter(surgeon_id=id_of(who))
    return Surgery.objects.none()


def access_surgery(who: Principal | User, surgery_id: UUID) -> Surgery:
    """Return one operation. Raises NotFound before it asks whose it is, then Forbidden."""
    surgery = _readable().filter(pk=surgery_id).first()
    if surgery is None:
        raise NotFound(NO_SUCH_SURGERY.format(surgery_id))
    is_own = surgery.surgeon_id == id_of(who) and may(who, Right.READ_OWN_SURGERIES)
    if not is_own and not may(who, Right.READ_ALL_SURGERIES):
        raise Forbidden(NOT_YOURS)
    return surgery


def _readable() -> QuerySet[Surgery]:
    """Add the surgeon's name, and `movements_now`: of those in progress, what is stored so far."""
    chunks = TrajectoryChunk.objects.filter(surgery=OuterRef("pk")).order_by("-seq")
    stored = Subquery(chunks.values(total=F("first") + F("count"))[:1])
    return Surgery.objects.select_related("surgeon").annotate(
        movements_now=Case(
            When(status=Surgery.Status.IN_PROGRESS, then=Coalesce(stored, 0)),
            default=F("movements"),
            output_field=BigIntegerField(),
        )
    )


def unanalysed_among(ids: Iterable[UUID]) -> set[UUID]:
    """Return which of these operations are completed and still wait for a score."""
    waiting = Surgery.objects.filter(
        id__in=list(ids), status=Surgery.Status.COMPLETED, analysed_at=None
    )
    return set(waiting.values_list("id", flat=True))


def trajectory_json(surgery: Surgery) -> Iterator[bytes]:
    """Yield the whole trajectory as one JSON array, as it was stored, a few chunks at a time."""
    yield b"["
    separator = b""
    for page in _pages(surgery):
        payloads = (link.payload[1:-1] for link in page)
        yield separator + b",".join(payloads)
        separator = b","
    yield b"]"


def payloads_of(surgery: Surgery) -> list[bytes]:
    """Return the chunks' JSON arrays in order, for what computes elsewhere."""
    return [link.payload for link in links_of(surgery)]


def links_of(surgery: Surgery) -> Iterator[Link]:
    """Yield the stored chunks in order, in short queries: nobody waits for a long reader."""
    for page in _pages(surgery):
        yield from page


def _pages(surgery: Surgery) -> Iterator[list[Link]]:
    last = -1
    while page := _links_after(surgery, last):
        yield page
        last = page[-1].seq


def _links_after(surgery: Surgery, seq: int) -> list[Link]:
    chunks = TrajectoryChunk.objects.filter(surgery_id=surgery.id, seq__gt=seq).order_by("seq")
    fields = chunks.values_list("seq", "first", "count", "payload", "digest")
    return [
        Link(seq, first, count, bytes(payload), digest)
        for seq, first, count, payload, digest in fields[:CHUNKS_PER_QUERY]
    ]
