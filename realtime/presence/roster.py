"""Who is present in the whole deployment, in memory: what a new subscriber is shown."""

from realtime.core.events import Event, PresenceChanged


class Roster:
    """Who is present in the whole deployment, as the journal told so far.

    It changes just before the hub delivers what changed it: what it says and what a
    subscriber hears next fit together. Belongs to the event loop's thread.
    """

    def __init__(self) -> None:
        self._present: dict[str, PresenceChanged] = {}

    def __len__(self) -> int:
        return len(self._present)

    def fill(self, present: list[PresenceChanged]) -> None:
        """Begin anew with these."""
        self._present = {each.topic: each for each in present}

    def on_event(self, event: Event) -> None:
        """Heed what the journal tells."""
        if not isinstance(event, PresenceChanged):
            return
        # Last in turn: a snapshot that is cut shows who came first.
        self._present.pop(event.topic, None)
        if event.status != "offline":
            self._present[event.topic] = event

    def of(self, topic: str) -> PresenceChanged | None:
        """Return what was told last on this topic, of somebody who is present."""
        return self._present.get(topic)

    def everybody(self) -> list[PresenceChanged]:
        return list(self._present.values())
