"""Stand-ins for tests: a transport with a switch, a dialect that counts, people and events."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_DNS, UUID, uuid5

import msgspec

from realtime.core.errors import Disconnect
from realtime.core.events import (
    Event,
    SurgeryAnalysed,
    SurgeryCompleted,
    SurgeryInterrupted,
    SurgeryMoved,
    SurgeryStarted,
)
from realtime.core.frames import Frame
from realtime.core.session import Gap, Principal, Session
from realtime.hub import Dialect, Member
from realtime.transports import Transport

NOW = datetime(2026, 3, 5, 10, 30, tzinfo=UTC)
OPERATOR_HEARS = ("surgeries.**", "chat.**", "alerts.**", "telemetry.**", "system")
SURGEON_HEARS = ("own:surgeries.**", "chat.**")


class FakeTransport(Transport):
    """Keeps what is written to it; `is_blocked` says what the test wants it to say."""

    is_blocked = False
    is_open = True

    def __init__(self) -> None:
        super().__init__(None, None)
        self.written: list[Frame] = []
        self.closed: tuple[int, str] | None = None
        self.ending: Disconnect | None = None
        self.is_aborted = False
        self.on_write: Callable[[], None] | None = None

    def write(self, frame: Frame) -> None:
        self.written.append(frame)
        self._note([frame.wire])
        if self.on_write is not None:
            self.on_write()

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
        self.is_open = False

    def close_after_received(self, error: Disconnect) -> None:
        self.ending = error

    def abort(self) -> None:
        self.is_aborted = True
        self.is_open = False

    def drain(self) -> None:
        """Read everything, as a peer does that came back to life."""
        self.is_blocked = False
        if self.on_drained is not None:
            self.on_drained()

    @property
    def texts(self) -> list[str]:
        return [frame.payload.decode() for frame in self.written]


class PlainDialect:
    """Says the kind and the position of everything, and counts how often it was asked."""

    overtakes = False

    def __init__(self, name: str = "plain", *, deaf_to: Iterable[str] = ()) -> None:
        self.name = name
        self.renders = 0
        self._deaf_to = frozenset(deaf_to)

    def render(
        self, event: Event, position: str | None, *, recover_from: str | None = None
    ) -> bytes | None:
        self.renders += 1
        if event.kind in self._deaf_to:
            return None
        told = f"{event.id} {position or 'live'}"
        return (told if recover_from is None else f"{told} ({recover_from})").encode()

    def is_binary(self, event: Event) -> bool:
        return False

    def render_gap(self, gap: Gap) -> bytes | None:
        return f"gap {gap.skipped} {gap.root}".rstrip().encode()


def user_id_of(username: str) -> UUID:
    return uuid5(NAMESPACE_DNS, username)


def surgery_id_of(name: str) -> UUID:
    return uuid5(NAMESPACE_DNS, f"surgery {name}")


def principal(
    username: str = "olga",
    *,
    role: str = "ROLE_OPERATOR",
    subscribe: tuple[str, ...] = OPERATOR_HEARS,
    publish: tuple[str, ...] = (),
    endpoints: Iterable[str] = ("pubsub",),
    expires_at: datetime | None = None,
) -> Principal:
    return Principal(
        user_id=user_id_of(username),
        username=username,
        role=role,
        endpoints=frozenset(endpoints),
        subscribe=subscribe,
        publish=publish,
        token_id=f"token of {username}",
        issued_at=NOW,
        # The consumers compare with the real clock.
        expires_at=expires_at or datetime.now(UTC) + timedelta(hours=1),
    )


def surgeon(username: str = "ana") -> Principal:
    return principal(
        username,
        role="ROLE_SURGEON",
        subscribe=SURGEON_HEARS,
        endpoints=("simulation", "pubsub"),
    )


def member(
    who: Principal | None = None,
    *,
    dialect: Dialect | None = None,
    transport: FakeTransport | None = None,
    endpoint: str = "pubsub",
    id: str | None = None,
) -> Member:
    who = who or principal()
    transport = transport or FakeTransport()
    session = Session(
        id=id or f"{who.username}-{builtin_id(transport)}",
        principal=who,
        endpoint=endpoint,
        address="",
        opened_at=NOW,
    )
    return Member(session, transport, dialect or PlainDialect())


def builtin_id(thing: object) -> str:
    return hex(id(thing))


def about(id: str, surgery: str, surgeon: str) -> dict[str, object]:
    return {
        "id": id,
        "at": NOW,
        "surgery_id": surgery_id_of(surgery),
        "surgeon_id": user_id_of(surgeon),
        "surgeon": surgeon,
    }


def started(id: str = "e1", *, surgery: str = "one", surgeon: str = "ana") -> SurgeryStarted:
    return SurgeryStarted(**about(id, surgery, surgeon), started_at=NOW)


def moved(id: str = "e1", *, surgery: str = "one", surgeon: str = "ana") -> SurgeryMoved:
    movements = b'[{"coordinates":[1.0,2.0],"event":"NONE","timestamp":1710523456789}]'
    return SurgeryMoved(**about(id, surgery, surgeon), offset=64, movements=msgspec.Raw(movements))


def interrupted(
    id: str = "e1", *, surgery: str = "one", surgeon: str = "ana"
) -> SurgeryInterrupted:
    return SurgeryInterrupted(**about(id, surgery, surgeon), movements=70)


def completed(id: str = "e1", *, surgery: str = "one", surgeon: str = "ana") -> SurgeryCompleted:
    return SurgeryCompleted(
        **about(id, surgery, surgeon), ended_at=NOW, duration_seconds=70, movements=4200
    )


def analysed(id: str = "e1", *, surgery: str = "one", surgeon: str = "ana") -> SurgeryAnalysed:
    return SurgeryAnalysed(**about(id, surgery, surgeon), score=85.5, feedback="Steady hand.")
