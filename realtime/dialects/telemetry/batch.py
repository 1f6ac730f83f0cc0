"""One batch on its way: readings that stand side by side are taken in together."""

from collections.abc import Callable, Sequence

from devices.readings import Report
from realtime.core.errors import Failure
from realtime.dialects.telemetry.acks import Acks, Part, Stored, about
from realtime.dialects.telemetry.schema import (
    BatchResponse,
    Outgoing,
    Telemetry,
    error,
    rejection_for,
)

TakeMany = Callable[[Sequence[Report]], Stored]


class Batching:
    """The answers to a batch, put together in the order of its items."""

    def __init__(self, size: int, take_many: TakeMany) -> None:
        self._results: list[Outgoing | None] = [None] * size
        self._take_many = take_many
        self._parts: list[Part] = []
        self._messages: dict[int, Telemetry] = {}
        self._reports: list[Report] = []

    def report(self, place: int, message: Telemetry, report: Report) -> None:
        """Let readings be taken in with those beside them."""
        self._messages[place] = message
        self._reports.append(report)

    def answer(self, place: int, answer: Outgoing) -> None:
        self._results[place] = answer

    def refuse(self, place: int, failure: Failure) -> None:
        """Answer with an error whose field says which item it was."""
        rejection = rejection_for(failure)
        field = rejection.more.get("field")
        here = f"messages[{place}]"
        rejection.more["field"] = f"{here}.{field}" if field else here
        self._results[place] = error(rejection)

    def take_in(self) -> None:
        """Take in what was reported so far: what comes next in the batch comes after it."""
        if not self._reports:
            return
        messages, self._messages = self._messages, {}
        reports, self._reports = self._reports, []
        try:
            self._parts.append(Part(messages, self._take_many(reports)))
        except Failure as failure:
            for place, message in messages.items():
                self.refuse(place, about(message, failure))

    def end(self, acks: Acks) -> Outgoing | None:
        """Return the answer, or None: `acks` gives it once all readings are stored."""
        self.take_in()
        if not self._parts:
            return BatchResponse(results=self._results)
        acks.expect_batch(self._results, self._parts)
        return None
