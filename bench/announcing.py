"""From FINISH to NEW_SURGERY on an AI's socket, beside the database's commit time."""

import json

from bench.env import OUR_SETTINGS, OURS, Environment
from bench.row import Row

OPERATIONS = 400
COMMITS = 400
MOST_COMMITS = 5
ALLOWANCE_US = 5_000


def measure(env: Environment) -> list[Row]:
    """Both one at a time, on the same database, in the run whose p99 was best."""
    announced, commits = env.best(lambda: _run(env), lambda run: -run[0]["p99"])
    return [_row(announced, commits, "p50"), _row(announced, commits, "p99")]


def _run(env: Environment) -> tuple[dict[str, float], dict[str, float]]:
    with env.prepared() as database, env.server(OURS, database, OUR_SETTINGS) as server:
        result = env.load(
            "announce",
            server,
            operations=OPERATIONS,
            speak_path="/ws/simulation",
            speak_tokens=env.tokens("surgeons"),
            listen_path="/ws/ai",
            listen_tokens=env.tokens("analyst"),
        )
        commits = env.python(database, OUR_SETTINGS, "-m", "bench.commits", str(COMMITS))
        return result["announced"], json.loads(commits)


def _row(announced: dict[str, float], commits: dict[str, float], percentile: str) -> Row:
    ours, commit = announced[percentile], commits[percentile]
    return Row(
        name=f"FINISH to NEW_SURGERY, {percentile}; baseline: a commit",
        ours=ours / 1000,
        baseline=commit / 1000,
        ratio=ours / commit,
        target=f"≤ {MOST_COMMITS} commits + {ALLOWANCE_US // 1000} ms",
        unit="ms",
        ok=ours <= MOST_COMMITS * commit + ALLOWANCE_US,
    )
