"""Who is connected, in all processes: asked of each when somebody wants to know.

A question goes out over the broker, each process answers with what it has, at most
`SHOWN_MAX` connections, and whoever asked waits a second for those that are said to live.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import uuid4

import msgspec

from realtime.core.errors import PolicyViolation, Unavailable
from realtime.core.events import ConnectionEnded
from realtime.hub import Hub, Member

logger = logging.getLogger("vitalwire.rollcall")

# The names of these messages on the broker.
ASK: Final = "roll.ask"
ANSWER: Final = "roll.answer"

ANSWER_SECONDS: Final = 1.0
# Of one process; with the two below an answer stays below what the layer carries well.
SHOWN_MAX: Final = 250
PATTERNS_SHOWN: Final = 6
PATTERN_CHARACTERS: Final = 60
# A thread that asks waits so much longer for the event loop than for the other processes.
LOOP_SECONDS: Final = 4.0

Tell = Callable[[str, Any], None]


class Line(msgspec.Struct, frozen=True):
    """One connection as its process tells it. `opened_at` is in seconds since 1970."""

    id: str
    user_id: str
    username: str
    role: str
    dialect: str
    endpoint: str
    address: str
    opened_at: float
    patterns: list[str]
    subscriptions: int
    is_blocked: bool
    messages_in: int
    messages_out: int


class Question(msgspec.Struct, frozen=True):
    """Which connections: everything that is given has to fit.

    `search` stands in the user's name or the address, or begins the connection's id.
    """

    search: str = ""
    endpoint: str = ""
    user_id: str = ""
    ids: list[str] = []

    def fits(self, member: Member) -> bool:
        session = member.session
        if self.ids and session.id not in self.ids:
            return False
        if self.endpoint and session.endpoint != self.endpoint:
            return False
        who, search = session.principal, self.search.lower()
        if self.user_id and str(who.user_id) != self.user_id:
            return False
        return (
            not search
            or search in who.username.lower()
            or search in session.address
            or session.id.startswith(search)
        )


class Answer(msgspec.Struct, frozen=True):
    """What one process has: how many fit, and the first of them."""

    total: int
    lines: list[Line]


class Roll(msgspec.Struct, frozen=True):
    """What all processes have, by process, and who did not answer in time."""

    answers: dict[str, Answer]
    silent: list[str]

    @property
    def total(self) -> int:
        return sum(answer.total for answer in self.answers.values())

    @property
    def shown(self) -> int:
        return sum(len(answer.lines) for answer in self.answers.values())


class _Call:
    """One question under way."""

    def __init__(self, awaited: Iterable[str]) -> None:
        self.awaited = set(awaited)
        self.answers: dict[str, Answer] = {}
        self.is_answered = asyncio.Event()

    def hear(self, node: str, answer: Answer) -> None:
        # Whoever is not said to live yet may have just started: it counts as well.
        self.answers[node] = answer
        if self.awaited <= self.answers.keys():
            self.is_answered.set()


class RollCall:
    """Asks and answers for this process. Belongs to the event loop's thread, but for `ask`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tell: Tell | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: dict[str, _Call] = {}

    def connect(self, tell: Tell | None) -> None:
        """Ask the other processes by `tell` from now on, or nobody any more."""
        self._tell = tell
        self._loop = None if tell is None else asyncio.get_running_loop()

    def ask(self, question: Question, *, own: str, others: Iterable[str]) -> Roll:
        """Return what all processes have; for a thread that may wait a second.

        `own` is this process's name, `others` are said to live. Raises Unavailable where no
        connections are served.
        """
        loop = self._loop
        if loop is None:
            raise Unavailable("this process serves no connections: ask one that does")
        asked = asyncio.run_coroutine_threadsafe(self.call(question, own=own, others=others), loop)
        try:
            return asked.result(ANSWER_SECONDS + LOOP_SECONDS)
        except TimeoutError:
            asked.cancel()
            raise Unavailable("this process is too busy to answer: try again later") from None

    async def call(self, question: Question, *, own: str, others: Iterable[str]) -> Roll:
        """Return what all processes have, at the latest after `ANSWER_SECONDS`."""
        awaited = set(others) - {own}
        under_way = _Call(awaited)
        name = uuid4().hex
        self._calls[name] = under_way
        try:
            if awaited and self._tell is not None:
                self._tell(ASK, {"call": name, "question": msgspec.to_builtins(question)})
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await under_way.is_answered.wait()
                except TimeoutError:
                    logger.info("not all processes answered a roll call in time")
        finally:
            del self._calls[name]
        answers = {own: self.answer(question), **under_way.answers}
        return Roll(answers, sorted(awaited - answers.keys()))

    def answer(self, question: Question) -> Answer:
        """Return what this process has."""
        fitting = [member for member in self._hub if question.fits(member)]
        return Answer(len(fitting), [_line(member) for member in fitting[:SHOWN_MAX]])

    def on_asked(self, node: str, body: Any) -> None:
        """Another process wants to know."""
        if self._tell is not None:
            answer = self.answer(msgspec.convert(body["question"], Question))
            self._tell(ANSWER, {"call": body["call"], "answer": msgspec.to_builtins(answer)})

    def on_answered(self, node: str, body: Any) -> None:
        """Another process answered somebody: perhaps us."""
        under_way = self._calls.get(body["call"])
        if under_way is not None:
            under_way.hear(node, msgspec.convert(body["answer"], Answer))


def end_connections(hub: Hub, event: ConnectionEnded) -> int:
    """Close the connections here that an operator ended, with 1008; return how many."""
    ended = 0
    for member in hub:
        session = member.session
        if event.connection_id is not None:
            is_meant = session.id == event.connection_id
        else:
            is_meant = session.principal.user_id == event.user_id
        if is_meant:
            ended += 1
            logger.info(
                "connection ended: user=%s endpoint=%s by=%s",
                session.principal.username,
                session.endpoint,
                event.by,
            )
            member.end(PolicyViolation("an operator ended this connection", kind="ended"))
    return ended


def _line(member: Member) -> Line:
    session = member.session
    who = session.principal
    return Line(
        id=session.id,
        user_id=str(who.user_id),
        username=who.username,
        role=who.role,
        dialect=member.dialect.name,
        endpoint=session.endpoint,
        address=session.address,
        opened_at=session.opened_at.timestamp(),
        patterns=[
            pattern[:PATTERN_CHARACTERS] for pattern in list(member.cohorts)[:PATTERNS_SHOWN]
        ],
        subscriptions=len(member.cohorts),
        is_blocked=member.transport.is_blocked,
        messages_in=session.messages_in,
        messages_out=session.messages_out,
    )
