"""Many readers in one thread, and a device that keeps its own books."""

import contextlib
import itertools
import selectors
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

from devices.models import Device
from project.tests.live.halls import new_device, sign_in, telemetry
from project.tests.live.raw import Ended, RawWebSocket, Silence
from project.tests.live.server import Server


class Crowd:
    """Reads every message of many sockets until the block ends; `heard` is in their order."""

    def __init__(self, sockets: Iterable[RawWebSocket]) -> None:
        self._sockets = list(sockets)
        self.heard: list[list[dict[str, Any]]] = [[] for _ in self._sockets]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="crowd", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def all_heard(self, kind: str, count: int) -> bool:
        """Tell whether everyone has heard so many messages of this type."""
        return all(len(self.of(index, kind)) >= count for index in range(len(self.heard)))

    def of(self, index: int, kind: str) -> list[dict[str, Any]]:
        """Return what one of them heard of this type, in order."""
        return [message for message in self.heard[index] if message["type"] == kind]

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for index, ws in enumerate(self._sockets):
                selector.register(ws, selectors.EVENT_READ, index)
            while not self._stopped.is_set():
                for key, _ in selector.select(timeout=0.05):
                    try:
                        self.heard[key.data].extend(self._sockets[key.data].arrived())
                    except Ended:
                        selector.unregister(key.fileobj)


class Gauge:
    """A device's client that numbers its readings and remembers which were acknowledged.

    None of the demo's rules is for its type.
    """

    def __init__(self, device_type: str = "gauge", **fields: Any) -> None:
        self.device: Device
        self.device, self.token = new_device(device_type, **fields)
        self.sent: dict[str, dict[str, Any]] = {}
        self.acknowledged: set[str] = set()
        self.ws: RawWebSocket
        self._numbers = itertools.count(1)

    @property
    def unacknowledged(self) -> list[str]:
        return [number for number in self.sent if number not in self.acknowledged]

    def connect(self, connect: Callable[..., RawWebSocket], server: Server) -> Self:
        self.ws = sign_in(connect(server.ws_url("/ws/device")), self.token)
        return self

    def report(self, value: float | None = None) -> str:
        """Send the next reading, its number unless a value is given; return what it is called."""
        number = next(self._numbers)
        name = f"m{number}"
        given = float(number) if value is None else value
        self.sent[name] = telemetry(self.device.pk, name, temperature=given)
        self.ws.send_json(self.sent[name])
        return name

    def report_again(self, names: Iterable[str]) -> None:
        """Send readings as they were sent before."""
        for name in names:
            self.ws.send_json(self.sent[name])

    def read(self, *, seconds: float) -> None:
        """Read acknowledgements for so long, or to the end of the connection. Raises Ended."""
        with contextlib.suppress(Silence):
            while True:
                self._hear(self.ws.read_json(within=seconds))

    def settle(self, *, within: float = 20.0) -> None:
        """Read until everything is acknowledged."""
        while self.unacknowledged:
            self._hear(self.ws.read_json(within=within))

    def acknowledge(self, name: str) -> None:
        """Read until this one is acknowledged."""
        while name not in self.acknowledged:
            self._hear(self.ws.read_json())

    def _hear(self, message: dict[str, Any]) -> None:
        assert message["type"] not in ("error", "batch_response"), message
        if message["type"] == "telemetry_ack":
            self.acknowledged.add(message["id"])
