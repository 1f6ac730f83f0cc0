"""A page of the journal for one reader that is behind: in which order it is written, and how far
the reader has had everything meanwhile. Pure.
"""

from collections.abc import Sequence

from realtime.core.events import Event, rank_of

Due = tuple[int, Event]


class Page:
    """Events that are due, by position; `upto` is the position at which the page ends.

    With `overtakes` high comes before normal before low, but never within one topic: what stands
    before a high one in its topic is pulled along.
    """

    __slots__ = ("_first", "_places", "_upto", "_written", "order")

    def __init__(self, due: Sequence[Due], *, upto: int, overtakes: bool) -> None:
        self._places = [n for n, _ in due]
        self._first = 0
        self._upto = upto
        self._written: set[int] = set()
        self.order = _by_priority(due) if overtakes else due

    @property
    def had_upto(self) -> int:
        """The position up to which everything was written."""
        if self._first == len(self._places):
            return self._upto
        return self._places[self._first] - 1

    def is_next(self, n: int) -> bool:
        """Tell whether nothing before `n` is still to be written."""
        return self._places[self._first] == n

    def note(self, n: int) -> None:
        """Take note that the event at `n` was written."""
        self._written.add(n)
        while self._first < len(self._places) and self._places[self._first] in self._written:
            self._written.discard(self._places[self._first])
            self._first += 1


def _by_priority(due: Sequence[Due]) -> Sequence[Due]:
    ranks = [rank_of(event) for _, event in due]
    if len(set(ranks)) < 2:
        return due
    best: dict[str, int] = {}
    for place in range(len(due) - 1, -1, -1):
        topic = due[place][1].topic
        best[topic] = ranks[place] = min(ranks[place], best.get(topic, ranks[place]))
    return [due[place] for place in sorted(range(len(due)), key=ranks.__getitem__)]
