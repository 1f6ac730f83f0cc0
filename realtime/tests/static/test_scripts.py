"""The unit tests of the client's modules, which are JavaScript themselves, run by Node."""

from pathlib import Path

import pytest

from realtime.tests.node import run_node

SCRIPTS = sorted(Path(__file__).parent.glob("*.test.js"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_modules_do_as_their_tests_say(script: Path) -> None:
    done = run_node("--test", "--test-reporter=spec", str(script))
    assert done.returncode == 0, done.stdout + done.stderr
