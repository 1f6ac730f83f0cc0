"""What `make test` runs: the same tests on every kind of deployment, one stage after another.

`python -m project.tests.suite [--soak] [--only STAGE] [arguments of pytest]` prints one line
per stage and exits non-zero when one failed. Services come from `services.py`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from project.tests import services

BASE_DIR = Path(__file__).resolve().parents[2]
LIVE = ["project/tests/live", "-o", "addopts=--strict-markers --strict-config"]
# Workers, each with a server and a database of its own, share the files between them: a live test
# mostly waits.
BY_FILE = ["-n", "4", "--dist", "loadfile"]
NO_TESTS_COLLECTED = 5
# Of one test; in `make test` the timeout is that of pyproject.toml.
SOAK_TIMEOUT_SECONDS = 1_800


@dataclass(frozen=True)
class Stage:
    """One run of pytest: its arguments and environment; `full` needs PostgreSQL and Redis."""

    name: str
    arguments: list[str]
    full: bool = False
    environment: dict[str, str] = field(default_factory=dict)


UNIT = [
    Stage("unit-sqlite", ["-n", "2"]),
    Stage("unit-postgres-redis", ["-n", "2"], full=True),
]
LIVE_STAGES = [
    Stage("live-sqlite", [*LIVE, *BY_FILE]),
    Stage("live-postgres-redis", [*LIVE, *BY_FILE], full=True),
    # A browser sees no difference between servers: once on each deployment is enough.
    Stage(
        "live-uvicorn",
        [*LIVE, *BY_FILE, "-m", "not browser"],
        environment={"LIVE_SERVER": "uvicorn"},
    ),
]


@dataclass(frozen=True)
class Outcome:
    stage: str
    verdict: str
    seconds: float = 0.0

    @property
    def is_failure(self) -> bool:
        return self.verdict.startswith("FAILED")

    def __str__(self) -> str:
        return f"{self.stage:<22} {self.verdict:<40} {self.seconds:7.1f} s"


def main() -> int:
    """Run the stages, print the summary and return the exit code."""
    options, arguments = _parse_arguments()
    missing = services.lacking()
    refused = services.required() & missing.keys()
    for name, advice in missing.items():
        print(f"{'REQUIRED, but ' if name in refused else 'Skipping: '}{advice}.", flush=True)
    if refused:
        return 1
    stages = LIVE_STAGES if options.soak else UNIT + LIVE_STAGES
    if options.only:
        stages = [stage for stage in stages if stage.name == options.only]
    outcomes = [_run(stage, missing, arguments, soak=options.soak) for stage in stages]
    print("\n" + "\n".join(str(outcome) for outcome in outcomes))
    print(f"{'total':<63} {sum(outcome.seconds for outcome in outcomes):7.1f} s")
    return 1 if any(outcome.is_failure for outcome in outcomes) else 0


def _parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soak", action="store_true", help="the long versions of the live tests")
    parser.add_argument("--only", choices=[stage.name for stage in UNIT + LIVE_STAGES])
    return parser.parse_known_args()


def _run(stage: Stage, missing: dict[str, str], arguments: list[str], *, soak: bool) -> Outcome:
    absent = sorted({"redis", "postgres"} & missing.keys())
    if stage.full and absent:
        return Outcome(stage.name, f"skipped: no {' and no '.join(absent)}")
    print(f"\n=== {stage.name}", flush=True)
    began = time.monotonic()
    with _environment(stage, soak=soak) as environment:
        patience = [f"--timeout={SOAK_TIMEOUT_SECONDS}"] if soak else []
        command = [sys.executable, "-m", "pytest", "-q", *stage.arguments, *patience, *arguments]
        code = subprocess.run(command, cwd=BASE_DIR, env=environment, check=False).returncode
    verdicts = {0: "passed", NO_TESTS_COLLECTED: "passed: there are no tests"}
    return Outcome(
        stage.name,
        verdicts.get(code, f"FAILED: pytest exited with {code}"),
        time.monotonic() - began,
    )


@contextmanager
def _environment(stage: Stage, *, soak: bool) -> Iterator[dict[str, str]]:
    """Yield the environment of a stage: its own database, and its own services when `full`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitalwire-")))
        environment = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "TEST_SQLITE_NAME": str(folder / "test.sqlite3"),
            "REDIS_URL": "",
            **stage.environment,
        }
        if soak:
            environment["SOAK"] = "1"
        if stage.full:
            environment["REDIS_URL"] = stack.enter_context(services.redis_service(folder))
            environment["DATABASE_URL"] = stack.enter_context(
                services.postgres_service(folder, durable=False)
            )
        yield environment


if __name__ == "__main__":
    sys.exit(main())
