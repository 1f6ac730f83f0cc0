"""nchan, fan-out in C: an nginx of our own with one channel that is spoken to and listened to."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
NGINX = Path("/usr/sbin/nginx")
WORKER_SECONDS = 10
HOW_TO_GET = "nchan is not installed (apt install libnginx-mod-nchan): not compared"

CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    tcp_nodelay on;
    nchan_max_reserved_memory 256M;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /listen {{
            nchan_subscriber websocket;
            nchan_channel_id telemetry;
            nchan_subscriber_first_message newest;
        }}
        location = /speak {{
            nchan_publisher websocket;
            nchan_channel_id telemetry;
            nchan_message_buffer_length 100;
        }}
    }}
}}
"""


def is_installed() -> bool:
    return MODULE.exists() and NGINX.exists()


def start(folder: Path, port: int, preexec: Callable[[], None]) -> subprocess.Popen[bytes]:
    """Start nginx in the foreground, with everything it writes in `folder`."""
    folder.mkdir(exist_ok=True)
    # Its worker is another user's process, and needs the folder.
    folder.chmod(0o755)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            module=MODULE, folder=folder, port=port, files=20_000, connections=16_000
        )
    )
    return subprocess.Popen(
        [str(NGINX), "-c", str(configuration), "-p", str(folder)],
        preexec_fn=preexec,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "stderr.log").open("wb"),
        env={"PATH": os.environ["PATH"]},
    )


def worker_of(master: int) -> int:
    """Return the process that does the work: on a busy machine it starts after the port is open."""
    deadline = time.monotonic() + WORKER_SECONDS
    while time.monotonic() < deadline:
        if workers := psutil.Process(master).children():
            return workers[0].pid
        time.sleep(0.01)
    raise RuntimeError(f"nginx started no worker within {WORKER_SECONDS} s")
