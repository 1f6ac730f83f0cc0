"""Who the hub writes to: a session with its connection, and what waits for it meanwhile."""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from realtime.core.errors import Disconnect
from realtime.core.events import Event
from realtime.core.frames import Frame
from realtime.core.session import Gap, Session
from realtime.core.topics import patterns_matching, root_of
from realtime.transports import Transport

if TYPE_CHECKING:
    from realtime.cohorts import Cohort

# What waits for one peer that does not read: the latest of so many things, of so many bytes.
CONFLATED_MAX = 1024
CONFLATED_BYTES = 256 * 1024
NOTHING: frozenset[int] = frozenset()


class Dialect(Protocol):
    """How one dialect says what happened. Stateless, shared by all its sessions."""

    name: str
    # Whether its messages can say that they came before earlier ones.
    overtakes: bool

    def render(
        self, event: Event, position: str | None, *, recover_from: str | None = None
    ) -> bytes | None:
        """Return the message's bytes, or None: clients of this dialect never hear of it.

        `recover_from` is given only where the dialect `overtakes`, to a message that does: the
        position up to which its reader has had everything.
        """

    def is_binary(self, event: Event | Gap) -> bool:
        """Tell whether the message about an event, or a gap, is a binary one."""

    def render_gap(self, gap: Gap) -> bytes | None:
        """Return the message that tells which events a slow reader missed, or None."""


class Waiting(NamedTuple):
    """The latest live event of its kind, while the peer does not read."""

    frame: Frame
    topic: str
    at: datetime


class Replay(NamedTuple):
    """Durable events of one subscription that are told again: `after` < n <= `upto`.

    Those between `low` and `after` were, by a replay that another one interrupted.
    """

    low: int
    after: int
    upto: int


class Member:
    """One session with its connection: what the hub writes to."""

    __slots__ = (
        "_waiting",
        "_waiting_bytes",
        "ahead",
        "asked",
        "began",
        "behind_at",
        "caught_up",
        "changes",
        "cohorts",
        "dialect",
        "gaps",
        "heard_upto",
        "held_at",
        "is_ending",
        "is_held",
        "is_shut_out",
        "mail",
        "replays",
        "session",
        "stalled_since",
        "transport",
    )

    def __init__(self, session: Session, transport: Transport, dialect: Dialect) -> None:
        self.session = session
        self.transport = transport
        transport.session = session
        self.dialect = dialect
        self.cohorts: dict[str, Cohort] = {}
        # What the peer asked for itself: pattern -> how it wrote it.
        self.asked: dict[str, str] = {}
        # From where on each subscription has told everything.
        self.began: dict[str, int] = {}
        # Position up to which durable events were written, while later ones must wait.
        self.behind_at: int | None = None
        # Positions after that which were written already: they overtook what waits.
        self.ahead: set[int] = set()
        # Positions of what had waited for its user and was told at the beginning.
        self.mail: frozenset[int] = NOTHING
        # Counts what makes a page that was looked through worthless.
        self.changes = 0
        # While replaying: where it was, but for the subscriptions in `replays`.
        self.heard_upto = 0
        self.replays: dict[str, Replay] = {}
        # Where the held subscriptions began, until they are replayed.
        self.held_at: dict[str, int] = {}
        # Set while history is being written to it.
        self.caught_up: asyncio.Future[None] | None = None
        self.is_held = False
        self.is_ending = False
        # Whether it may not be here any more: it is told nothing, and nothing is taken from it.
        self.is_shut_out = False
        self.stalled_since: float | None = None
        self.gaps: dict[str, Gap] = {}
        self._waiting: dict[str, Waiting] = {}
        self._waiting_bytes = 0

    def send(self, frame: Frame) -> None:
        """Write an answer to this peer alone."""
        self.transport.write(frame)

    def end(self, error: Disconnect) -> None:
        """Close this connection for `error`, once what it sent already was looked at."""
        self.is_ending = True
        self.transport.close_after_received(error)

    def choose(self, event: Event) -> "tuple[Cohort, Event] | None":
        """Return through which subscription it hears `event`, and how much of it.

        The most specific pattern that accepts the event decides.
        """
        for pattern in patterns_matching(event.topic):
            cohort = self.cohorts.get(pattern)
            if cohort is not None and (view := cohort.view(event)) is not None:
                return cohort, view
        return None

    # --- Durable events ----------------------------------------------------------------

    def may_hear(self, topic: str) -> bool:
        """Tell whether an event of `topic` is worth decoding."""
        return any(pattern in self.cohorts for pattern in patterns_matching(topic))

    def hears(self, event: Event, n: int) -> bool:
        """Tell whether the durable event at `n` is yet to be told: some subscription has to,
        and none of those that hear it did.
        """
        if n in self.ahead or n in self.mail or event.spared == self.session.id:
            return False
        is_due = False
        for pattern in patterns_matching(event.topic):
            cohort = self.cohorts.get(pattern)
            if cohort is None or cohort.view(event) is None:
                continue
            if self._has_told(pattern, n):
                return False
            is_due = is_due or self._is_due(pattern, n)
        return is_due

    def begin_replay(self, pattern: str, *, after: int, position: int) -> None:
        """Tell one subscription's events from `after` up to where it began.

        The others go on where they stand, which is `position` unless the member is behind.
        """
        began = self.began[pattern]
        if after >= began:
            if self.held_at.get(pattern) == began:
                # Another process, which was ahead of ours, has told its reader more already.
                self.began[pattern] = after
            return
        self.changes += 1
        stands = position if self.behind_at is None else self.behind_at
        self.heard_upto = max(self.heard_upto, stands)
        self.replays = {
            earlier: replay._replace(after=max(replay.after, stands))
            for earlier, replay in self.replays.items()
        }
        self.replays[pattern] = Replay(after, after, began)
        self.behind_at = min(stands, after)

    def keep_pace(self) -> None:
        """Go on with whatever happens next: everything until now was written."""
        self.changes += 1
        self.behind_at = None
        self.heard_upto = 0
        self.ahead.clear()
        for pattern, replay in self.replays.items():
            self.began[pattern] = replay.low
        self.replays.clear()

    def stand_at(self, position: int) -> None:
        """Go on from `position`, in a journal in which what was told is not known any more."""
        self.keep_pace()
        self.mail = NOTHING
        self.began = dict.fromkeys(self.began, position)
        self.held_at = dict.fromkeys(self.held_at, position)

    def _is_due(self, pattern: str, n: int) -> bool:
        replay = self.replays.get(pattern)
        if replay is None:
            return n > max(self.heard_upto, self.began[pattern])
        return n > replay.after and (n <= replay.upto or n > self.heard_upto)

    def _has_told(self, pattern: str, n: int) -> bool:
        replay = self.replays.get(pattern)
        if replay is None:
            return self.began[pattern] < n <= self.heard_upto
        return replay.low < n <= replay.after or replay.upto < n <= self.heard_upto

    # --- Live events -------------------------------------------------------------------

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting or self.gaps)

    def conflate(self, event: Event, frame: Frame) -> None:
        """Keep a live event until the peer reads: the latest of each thing, not too much.

        What it replaces and what there is no room for, the oldest first, becomes a gap.
        """
        key = event.conflation_key
        if key in self._waiting:
            self._skip(key)
        # Last again: what is written later must not be older.
        self._waiting[key] = Waiting(frame, event.topic, event.at)
        self._waiting_bytes += len(frame.wire)
        while len(self._waiting) > CONFLATED_MAX or self._waiting_bytes > CONFLATED_BYTES:
            self._skip(next(iter(self._waiting)))

    def write_waiting(self) -> None:
        """Write what was kept, then what was not kept, as gaps."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
        for each in waiting.values():
            self.send(each.frame)
        gaps, self.gaps = self.gaps, {}
        for gap in gaps.values():
            message = self.dialect.render_gap(gap)
            if message is not None:
                self.send(Frame(message, binary=self.dialect.is_binary(gap)))

    def _skip(self, key: str) -> None:
        skipped = self._waiting.pop(key)
        self._waiting_bytes -= len(skipped.frame.wire)
        root = root_of(skipped.topic)
        gap = self.gaps.get(root) or Gap(root, 0)
        self.gaps[root] = gap.widened(skipped.at)
