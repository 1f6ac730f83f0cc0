"""The AsyncAPI document: whole, valid as far as it is ours to say, and true of the handlers."""

import inspect
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command
from jsonschema import Draft7Validator

from realtime import routing
from realtime.asyncapi.document import DIALECTS, document
from realtime.dialects.pubsub import schema as pubsub
from realtime.dialects.pubsub.consumer import HANDLERS
from realtime.dialects.pubsub.described import RECEIVED
from realtime.dialects.surgery import schema as surgery
from realtime.dialects.telemetry import schema as telemetry
from realtime.negotiation import PRIMARY
from realtime.tests.described import strict

KEY = re.compile(r"^[\w.\-]+$")
# What AsyncAPI 3.0 allows in the objects that we use.
FIELDS = {
    "document": {
        *("asyncapi", "info", "servers", "defaultContentType"),
        *("channels", "operations", "components"),
    },
    "channel": {
        *("address", "title", "summary", "servers", "messages"),
        *("parameters", "tags", "bindings"),
    },
    "operation": {"action", "channel", "summary", "messages", "security", "reply"},
    "message": {"name", "title", "summary", "contentType", "payload", "examples"},
}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolved(told: Any, reference: str) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        told = told[name]
    return told


TOLD = document()
MESSAGES = TOLD["components"]["messages"]


def test_every_reference_leads_somewhere() -> None:
    assert {one for one in references(TOLD) if resolved(TOLD, one) is None} == set()


def test_nothing_stands_in_it_that_the_specification_does_not_know() -> None:
    assert TOLD.keys() <= FIELDS["document"]
    assert TOLD["asyncapi"] == "3.0.0"
    for channel in TOLD["channels"].values():
        assert channel.keys() <= FIELDS["channel"]
    for operation in TOLD["operations"].values():
        assert operation.keys() <= FIELDS["operation"]
        assert operation["action"] in ("send", "receive")
    for message in MESSAGES.values():
        assert message.keys() <= FIELDS["message"]


def test_its_names_are_names() -> None:
    places = [TOLD["channels"], TOLD["operations"], *TOLD["components"].values()]
    assert [key for place in places for key in place if not KEY.match(key)] == []


def test_an_operation_names_messages_of_its_channel_only() -> None:
    for operation in TOLD["operations"].values():
        place = operation["channel"]["$ref"]
        told = [*operation["messages"], *operation.get("reply", {}).get("messages", ())]
        assert all(one["$ref"].startswith(f"{place}/messages/") for one in told)


def test_nothing_stands_beside_a_reference() -> None:
    def alone(value: Any) -> bool:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str) and len(value) > 1:
                return False
            return all(map(alone, value.values()))
        return all(map(alone, value)) if isinstance(value, list) else True

    assert alone(TOLD["components"])


def test_every_schema_is_one() -> None:
    for schema in TOLD["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


EXAMPLES = [
    (name, example["payload"])
    for name, message in MESSAGES.items()
    for example in message.get("examples", ())
]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_is_what_its_schema_says(name: str, example: Any) -> None:
    schema = strict(TOLD, MESSAGES[name]["payload"])
    assert [error.message for error in Draft7Validator(schema).iter_errors(example)] == []


def test_every_message_in_json_has_an_example() -> None:
    bare = [
        name
        for name, message in MESSAGES.items()
        if message["contentType"] == "application/json" and not message.get("examples")
    ]
    assert bare == ["telemetry.sent.Error"]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_of_a_client_s_message_is_understood(name: str, example: Any) -> None:
    dialect, direction, _ = name.split(".", 2)
    if direction == "received":
        text = msgspec.json.encode(example).decode()
        {"surgery": surgery, "telemetry": telemetry, "pubsub": pubsub}[dialect].parse(text)  # type: ignore[attr-defined]


# --- Whether it is true ----------------------------------------------------------------------


def test_it_describes_every_endpoint_that_there_is() -> None:
    served = set(re.findall(r'"(/ws/\w+)"', inspect.getsource(routing)))
    told = set()
    for channel in TOLD["channels"].values():
        places = channel.get("parameters", {}).get("channel", {}).get("enum", [""])
        told |= {channel["address"].format(channel=place) for place in places}
    assert told == served | {PRIMARY}


def test_it_describes_every_message_that_pubsub_handles() -> None:
    told = {message.name for message in RECEIVED} - {"X", "Binary"}
    assert HANDLERS.keys() <= told


def test_it_describes_every_message_that_telemetry_reads() -> None:
    tags = {str(shape.__struct_config__.tag) for shape in telemetry.AnyIncoming.__args__}
    told = {name.split(".")[-1] for name in MESSAGES if name.startswith("telemetry.received.")}
    assert told == tags


def test_every_dialect_is_in_it() -> None:
    assert {dialect.name for dialect in DIALECTS} == {"surgery", "telemetry", "pubsub"}


# --- The command -----------------------------------------------------------------------------


def test_the_command_prints_it() -> None:
    out = io.StringIO()
    call_command("asyncapi", stdout=out)
    assert json.loads(out.getvalue()) == json.loads(json.dumps(TOLD))


def test_the_command_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "asyncapi.json"
    call_command("asyncapi", output=path, host="vitalwire.example", protocol="wss")
    server = json.loads(path.read_text())["servers"]["vitalwire"]
    assert (server["host"], server["protocol"]) == ("vitalwire.example", "wss")


def test_the_command_says_why_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot write"):
        call_command("asyncapi", output=tmp_path / "no" / "where")
