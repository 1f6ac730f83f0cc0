"""An operation arrives whole, in order and once, whatever happens to its connections."""

from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from realtime.client.connection import when_final
from realtime.client.errors import FrameRefused, NotAllowed
from realtime.client.motion import hands
from realtime.client.surgeon import operate
from realtime.client.tests.doubles import PROMPT, Time, closing, rest_answering, serving
from realtime.core.movement import Movement

SURGERY = UUID("550e8400-e29b-41d4-a716-446655440000")
MOVEMENTS = hands(seed=1, seconds=0.5, started_ms=1_710_523_456_789)


def decode(frame: str) -> Movement:
    return msgspec.json.decode(frame, type=Movement)


class Theatre:
    """Stores what arrives, like the server: `stored` survives a cut, as REST tells."""

    def __init__(self) -> None:
        self.stored: list[Movement] = []
        self.paths: list[str] = []
        self.saved_after = 1
        self.finishes = 0

    async def record(self, connection):
        """Take every frame; answer FINISH."""
        self.paths.append(connection.request.path)
        async for frame in connection:
            await self._take(decode(frame), connection)

    def record_then_cut(self, frames: int, *, lose: int = 0):
        """Return a handler that stores `frames`, loses `lose` more and drops the connection."""

        async def handle(connection):
            self.paths.append(connection.request.path)
            for _ in range(frames):
                self.stored.append(decode(await connection.recv()))
            for _ in range(lose):
                await connection.recv()
            connection.transport.abort()

        return handle

    async def _take(self, movement, connection):
        is_repeated = bool(self.stored) and movement == self.stored[-1]
        if not is_repeated:
            self.stored.append(movement)
        if movement.event == "FINISH":
            self.finishes += 1
            if self.finishes >= self.saved_after:
                await connection.send(f'{{"status":"SAVED", "surgeryId":"{SURGERY}"}}')

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer REST: the surgery's line, 404 as long as nothing is stored."""
        if not self.stored:
            return httpx.Response(404, json={"error": "La cirugía no existe."})
        item = {
            "surgeryId": str(SURGERY),
            "surgeonId": str(uuid4()),
            "surgeon": "ada",
            "status": "in_progress",
            "startTime": "2026-03-05T10:30:00",
            "endTime": None,
            "durationInSeconds": None,
            "movements": len(self.stored),
            "score": None,
        }
        return httpx.Response(200, json=item)


@pytest.fixture
def theatre() -> Theatre:
    return Theatre()


@pytest.fixture
def clock() -> Time:
    return Time()


async def _operate(url, theatre, clock, **options):
    options = {
        "rate": 0.0,
        "surgery_id": SURGERY,
        "backoff": PROMPT,
        "sleep": clock.sleep,
        **options,
    }
    async with rest_answering(url, theatre.answer) as rest:
        return await operate(rest, MOVEMENTS, clock=clock, **options)


async def test_an_uncut_operation_is_streamed_once(theatre, clock):
    async with serving(theatre.record) as url:
        assert await _operate(url, theatre, clock) == SURGERY
    assert theatre.stored == MOVEMENTS
    assert theatre.paths == [f"/ws/simulation?surgery={SURGERY}"]


async def test_a_cut_operation_goes_on_after_what_was_stored(theatre, clock):
    async with serving(theatre.record_then_cut(10, lose=5), theatre.record) as url:
        await _operate(url, theatre, clock)
    assert theatre.stored == MOVEMENTS
    assert len(set(theatre.paths)) == 1


async def test_an_operation_of_which_nothing_was_stored_begins_again(theatre, clock):
    async with serving(theatre.record_then_cut(0, lose=3), theatre.record) as url:
        await _operate(url, theatre, clock)
    assert theatre.stored == MOVEMENTS


async def test_many_cuts_lose_nothing(theatre, clock):
    cuts = [theatre.record_then_cut(4, lose=lose) for lose in (0, 3, 1, 0, 2)]
    async with serving(*cuts, theatre.record) as url:
        await _operate(url, theatre, clock)
    assert theatre.stored == MOVEMENTS


async def test_a_cut_before_saved_repeats_the_same_finish(theatre, clock):
    async with serving(theatre.record_then_cut(len(MOVEMENTS)), theatre.record) as url:
        assert await _operate(url, theatre, clock) == SURGERY
    assert theatre.stored == MOVEMENTS


async def test_finish_is_repeated_until_it_is_answered(theatre, clock):
    theatre.saved_after = 3
    async with serving(theatre.record) as url:
        await _operate(url, theatre, clock, answer_seconds=0.01)
    assert theatre.finishes >= 3
    assert theatre.stored == MOVEMENTS


async def test_movements_are_sent_when_they_are_due(theatre, clock):
    async with serving(theatre.record) as url:
        await _operate(url, theatre, clock, rate=60.0)
    assert clock.now == pytest.approx((len(MOVEMENTS) - 1) / 60)


async def test_a_refused_frame_ends_the_operation(theatre, clock):
    async with serving(closing(1003, "unknown event")) as url:
        with pytest.raises(FrameRefused, match="unknown event"):
            await _operate(url, theatre, clock)


async def test_an_operation_taken_over_elsewhere_is_let_go(theatre, clock):
    async with serving(closing(1008, "taken over")) as url:
        with pytest.raises(NotAllowed, match="taken over"):
            await _operate(url, theatre, clock, gives_up=when_final)
