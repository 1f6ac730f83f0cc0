"""Socket.IO on Node: rooms and broadcasts, stored nowhere. npm installs it on first use."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOW_TO_GET = "Socket.IO is not installed (Node and npm are needed): not compared"
PATH = "/socket.io/?EIO=4&transport=websocket"

# The protocol's own words: open the namespace, then events. Source: socket.io-protocol, 5.
LISTEN = "40"
SPEAK = '40{"speaks":true}'
SAY = '42["say",{"value":@,"message":"Hello everyone!","sender":"user123"}]'


def install(build: Path) -> Path | None:
    """Return a folder with the package, None where it cannot be had."""
    folder = build / "socketio"
    if shutil.which("npm") is None or shutil.which("node") is None:
        return None
    if not (folder / "node_modules" / "socket.io").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "package.json", folder)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
        if subprocess.run(command, cwd=folder, check=False).returncode:
            return None
    shutil.copy(HERE / "server.cjs", folder)
    return folder


def start(
    folder: Path, port: int, log: Path, preexec: Callable[[], None]
) -> subprocess.Popen[bytes]:
    """Start the server; its one process does the work."""
    return subprocess.Popen(
        ["node", "server.cjs", str(port)],
        cwd=folder,
        preexec_fn=preexec,
        stdout=subprocess.DEVNULL,
        stderr=log.open("wb"),
        env={"PATH": os.environ["PATH"]},
    )
