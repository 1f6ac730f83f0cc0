"""The clients that the protocols' documents print, taken from the documents themselves.

They are somebody else's text and stand nowhere in this project: the tests that run them read
them from the folder of documents, `TEST_DOCUMENTS` or `../shared/seeds`, and skip without it.
"""

import os
import textwrap
from pathlib import Path

import pytest

BASE_DIR = Path(__file__).resolve().parents[3]
TELEMETRY = "001-valtronics-websocket.txt"
PUBSUB = "003-realtime-protocol.txt"


def read(name: str) -> str:
    """Return a document's text, or skip the test."""
    folder = Path(os.environ.get("TEST_DOCUMENTS", BASE_DIR.parent / "shared" / "seeds"))
    if not (folder / name).is_file():
        pytest.skip(f"the document {name} is not here: set TEST_DOCUMENTS to its folder")
    return (folder / name).read_text()


def block_of(text: str, head: str) -> str:
    """Return the JavaScript class or function that begins with `head`, to its closing brace."""
    start = text.index(head)
    depth = 0
    for offset in range(text.index("{", start), len(text)):
        depth += {"{": 1, "}": -1}.get(text[offset], 0)
        if depth == 0:
            return text[start : offset + 1]
    raise AssertionError(f"{head} never ends in the document")


def section_of(text: str, first: str, *, until: str) -> str:
    """Return what stands between two lines, the first one included: a piece of Python."""
    start = text.index(first)
    return textwrap.dedent(text[start : text.index(until, start)])


def typescript_of(text: str, heading: str) -> str:
    """Return the TypeScript under a heading of a Markdown document, as printed."""
    start = text.index("```typescript\n", text.index(heading))
    first = text.index("\n", start) + 1
    return text[first : text.index("```", first)]
