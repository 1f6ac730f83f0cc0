"""A place in the journal, as every dialect writes it: `<epoch>-<n>`."""

import msgspec

from realtime.core.errors import Invalid


class Position(msgspec.Struct, frozen=True):
    """`n` counts events from 1 without a gap; `epoch` changes when history was restored."""

    epoch: str
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Raises Invalid for anything that `str(position)` cannot have written."""
        epoch, dash, n = text.rpartition("-")
        if not dash or not epoch or not n.isascii() or not n.isdigit() or len(n) > 18:
            raise Invalid("a position looks like <epoch>-<n>", field="position")
        return cls(epoch, int(n))
