"""What `make test` runs: the same tests on every kind of deployment, one stage after another.

`python -m project.tests.suite [--soak] [--only STAGE] [arguments of pytest]` prints one line
per stage and exits non-zero when one failed. Services come from `services.py`.

Tests run several at a time, and what they promise of time ("within a second") holds for a
machine that is not busy with others. A few that fail so are run again, one at a time: what fails
alone has failed, and what passes only alone is named in the summary.
"""

import argparse
import json
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
PYTEST = [sys.executable, "-m", "pytest", "-q"]
VERDICTS = {0: "passed", 5: "passed: there are no tests"}
# More than so many failures are no accident of a busy machine.
TRIED_ALONE_MAX = 8
# Of one test; in `make test` the timeout is that of pyproject.toml.
SOAK_TIMEOUT_SECONDS = 1_800


@dataclass(frozen=True)
class Stage:
    """One run of pytest: its arguments and environment; `full` needs PostgreSQL and Redis."""

    name: str
    arguments: list[str]
    # How its tests run beside each other, when they are not run alone.
    workers: list[str]
    full: bool = False
    environment: dict[str, str] = field(default_factory=dict)


UNIT = [
    Stage("unit-sqlite", [], ["-n", "2"]),
    Stage("unit-postgres-redis", [], ["-n", "2"], full=True),
]
LIVE_STAGES = [
    Stage("live-sqlite", LIVE, BY_FILE),
    Stage("live-postgres-redis", LIVE, BY_FILE, full=True),
    # A browser sees no difference between servers: once on each deployment is enough.
    Stage(
        "live-uvicorn",
        [*LIVE, "-m", "not browser"],
        BY_FILE,
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
    with _environment(stage, soak=soak) as (environment, folder):
        patience = [f"--timeout={SOAK_TIMEOUT_SECONDS}"] if soak else []
        command = [*PYTEST, *stage.arguments, *patience, *arguments]
        verdict = _verdict_of(command, stage.workers, environment, folder / "pytest")
    return Outcome(stage.name, verdict, time.monotonic() - began)


def _verdict(command: list[str], environment: dict[str, str]) -> str:
    code = subprocess.run(command, cwd=BASE_DIR, env=environment, check=False).returncode
    return VERDICTS.get(code, f"FAILED: pytest exited with {code}")


def _verdict_of(
    command: list[str], workers: list[str], environment: dict[str, str], cache: Path
) -> str:
    """Run the tests beside each other, and the few that failed then once more, alone."""
    command = [*command, "-o", f"cache_dir={cache}"]
    verdict = _verdict([*command, *workers], environment)
    failed = _failed(cache)
    if verdict == VERDICTS[0] or not 0 < len(failed) <= TRIED_ALONE_MAX:
        return verdict
    print(f"\n=== again, alone: {', '.join(failed)}", flush=True)
    verdict = _verdict([*command, "--last-failed", "--last-failed-no-failures=none"], environment)
    if verdict == VERDICTS[0]:
        return f"passed, only alone: {', '.join(name.partition('::')[2] for name in failed)}"
    return verdict


def _failed(cache: Path) -> list[str]:
    """Return the names of the tests that failed last, which pytest keeps for `--last-failed`."""
    kept = cache / "v" / "cache" / "lastfailed"
    return sorted(json.loads(kept.read_text())) if kept.exists() else []


@contextmanager
def _environment(stage: Stage, *, soak: bool) -> Iterator[tuple[dict[str, str], Path]]:
    """Yield a stage's environment, with services of its own when `full`, and its folder."""
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
        yield environment, folder


if __name__ == "__main__":
    sys.exit(main())
