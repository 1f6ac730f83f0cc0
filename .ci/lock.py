"""Print a complete pinned lock of what stands in a requirements file, as installed here.

`python .ci/lock.py requirements.in` follows each name to what it needs, extras included,
and reads the versions of the running environment. Run it by `make lock`.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Written above the lock of the file: what must be known before a version is raised.
NOTES = {
    "requirements.in": """\
# Complete lock of requirements.in: change that file, install from it, then `make lock`.
# redis stays below 8: its default socket timeout of 5 s cuts idle subscribers of
# channels-redis (django/channels_redis#422). daphne and autobahn are pinned exactly, because
# realtime/transports relies on their insides; never daphne below 4.2.2 (CVE-2026-44545).
""",
    "requirements-dev.in": """\
# Complete lock of requirements-dev.in: change that file, install from it, then `make lock`.
-r requirements.txt
""",
}


def read(path: Path) -> list[Requirement]:
    """Return the requirements a file names itself, without those it includes."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def closure(wanted: list[Requirement]) -> dict[str, str]:
    """Return name -> version of everything that `wanted` needs on this machine."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in wanted]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed here: install it first.") from None
        versions[name] = found.version
        for wanted_extra in ("", *requirement.extras):
            if (name, wanted_extra) not in seen:
                seen.add((name, wanted_extra))
                waiting += [(Requirement(need), wanted_extra) for need in found.requires or []]
    return versions


def main(path: Path) -> None:
    """Print the lock of `path`, without what the lock it includes has already."""
    versions = closure(read(path))
    for included in re.findall(r"^-r (\S+)\.txt$", NOTES[path.name], re.MULTILINE):
        for name in closure(read(path.with_name(f"{included}.in"))):
            versions.pop(name, None)
    print(NOTES[path.name], end="")
    for name, version in sorted(versions.items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
