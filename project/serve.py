"""What `make run` starts: daphne, the reference AI service and a small simulation.

A supervisor of processes only. It ends with Ctrl-C or SIGTERM, or when the server ends; the
other two may come and go.
"""

import argparse
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 20.0
# The ports in the documents of the protocols that are spoken here.
DOCUMENT_PORTS = [8080, 8000]
WELCOME = """
Vitalwire is running at {url}  (Ctrl-C stops it)

  {url}/dashboard/          operations, devices, alerts, live   operator / operator
  {url}/dashboard/devices/  devices and their charts
  {url}/dashboard/alerts/   alerts, acknowledged and resolved
  {url}/dashboard/system/   how the server fares
  {url}/simulator           operate with the mouse              surgeon_master / justina2024
  {url}/admin/              users, devices, rules, alerts       admin / admin
  {url}/api/docs/           the REST interface
"""

Process = subprocess.Popen[bytes]


def main() -> int:
    """Start everything, wait for the end, stop everything; return the exit code."""
    options = _parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    url = f"http://{options.host}:{options.port}"
    processes: list[Process] = []
    try:
        server = _start(_daphne(options))
        processes.append(server)
        _wait_until_it_answers(options.host, options.port, server)
        processes.append(_start(_manage("run_analyst", "--url", url)))
        processes.append(_start(_manage("simulate", "--url", url, *options.simulation.split())))
        print(WELCOME.format(url=url), flush=True)
        return server.wait()
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
        return 0
    finally:
        _stop(processes)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--documents", action="store_true", help="listen on the documents' ports too"
    )
    parser.add_argument(
        "--simulation",
        default="--surgeries 2 --devices 6 --seconds 60 --forever",
        help="arguments of `manage.py simulate`",
    )
    return parser.parse_args()


def _daphne(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "daphne", "-b", options.host, "-p", str(options.port)]
    others = [port for port in DOCUMENT_PORTS if port != options.port]
    for port in others if options.documents else []:
        command += ["-e", f"tcp:port={port}:interface={options.host}"]
    return [*command, "project.asgi:application"]


def _manage(*arguments: str) -> list[str]:
    return [sys.executable, str(BASE_DIR / "manage.py"), *arguments]


def _start(command: list[str]) -> Process:
    # In a session of its own: Ctrl-C reaches this process only, which then ends the others
    # in order.
    return subprocess.Popen(command, cwd=BASE_DIR, start_new_session=True)


def _wait_until_it_answers(host: str, port: int, server: Process) -> None:
    """Return once /healthz is answered; exit when the server ended or stays silent."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"daphne ended with {server.returncode}: see its message above.")
        connection = HTTPConnection(host, port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            connection.getresponse()
            return
        except (OSError, HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    sys.exit(f"daphne did not answer within {START_SECONDS:.0f} s.")


def _stop(processes: list[Process]) -> None:
    """End the processes, the last started first: clients before their server."""
    for process in reversed(processes):
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
