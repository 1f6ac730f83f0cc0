"""The examples of the protocol pages are what the document describes, to the field."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from realtime.asyncapi.document import DIALECTS, document
from realtime.tests.described import strict

DOCS = Path(__file__).resolve().parents[3] / "docs" / "protocols"
BLOCK = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(page: str) -> Iterator[Any]:
    """Yield the messages of a page; one may go on in lines that begin with a space."""
    for block in BLOCK.findall((DOCS / f"{page}.md").read_text()):
        for line in block.replace("\n ", "").strip().splitlines():
            yield json.loads(line)


ALL = [(dialect.name, said) for dialect in DIALECTS for said in examples(dialect.name)]


@pytest.mark.parametrize(
    ("dialect", "said"), ALL, ids=[f"{dialect} {json.dumps(said)[:60]}" for dialect, said in ALL]
)
def test_an_example_is_described(dialect: str, said: Any) -> None:
    told = document()
    problems = {}
    for name, message in told["components"]["messages"].items():
        if name.startswith(f"{dialect}.") and message["contentType"] == "application/json":
            found = Draft7Validator(strict(told, message["payload"])).iter_errors(said)
            problems[name] = [error.message for error in found]
    assert [] in problems.values(), problems


@pytest.mark.parametrize("dialect", [dialect.name for dialect in DIALECTS])
def test_a_page_has_examples(dialect: str) -> None:
    assert len(list(examples(dialect))) >= 3
