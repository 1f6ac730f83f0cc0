"""Logins of anybody, many at once: what hashing passwords costs the server is bounded."""

import time
from concurrent.futures import ThreadPoolExecutor

from project.tests.live.server import Server

MIB = 1024 * 1024
AT_ONCE = 48


def log_in(server: Server, name: str) -> int:
    """Return the status of a login that anybody could try."""
    body = {"username": name, "password": "Spring2026"}
    return server.request("POST", "/api/v1/auth/login", body=body)[0]


def test_many_logins_at_once_cost_little_memory(fresh_server: Server) -> None:
    assert log_in(fresh_server, "nobody") == 401  # What is loaded by the first one is not counted.
    before, peak = fresh_server.rss(), 0
    with ThreadPoolExecutor(AT_ONCE) as people:
        answers = [people.submit(log_in, fresh_server, f"nobody {n}") for n in range(AT_ONCE * 2)]
        while not all(answer.done() for answer in answers):
            peak = max(peak, fresh_server.rss() - before)
            time.sleep(0.01)
    # Refused for the password, or because too many wait: never an error, never unanswered.
    assert {answer.result() for answer in answers} <= {401, 503}
    # Two hashes take 38 MiB, the threads of 48 requests some more. Without
    # a bound the hashes alone would take 900 MiB.
    assert peak < 128 * MIB
