"""What a stored file may be called."""

import pytest

from realtime.core.errors import Invalid
from realtime.core.filenames import NAME_BYTES, check_name


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "report.pdf",
        "50 % done.txt",
        "two words.tar.gz",
        "Übersicht März.csv",
        "手術.bin",
        "CONTROL.txt",
        "com10",
        "a..b",
        "x" * NAME_BYTES,
    ],
)
def test_an_ordinary_name_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name


def test_one_name_in_two_spellings_is_one_name() -> None:
    assert check_name("u\u0308.txt") == check_name("\u00fc.txt") == "\u00fc.txt"


TRAVERSALS = [
    "..",
    ".",
    "../x",
    "../../etc/passwd",
    "..\\x",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "\\\\server\\share",
    "C:\\x",
    "C:x",
    "./x",
    "x/",
    "x/../y",
    "%2e%2e",
    "%2e%2e%2fx",
    "..%2fx",
    "..%5cx",
    "a%2Fb",
    "a%5Cb",
    "%252e%252e%252fx",
    "a%25252fb",
    "a%00b",
    "%0a",
    "\uff0e\uff0e\uff0fx",
    "a\uff0fb",
    "a\uff3cb",
    "\u2024\u2024",
    "file\uff1astream",
]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_path_is_refused_however_it_is_written(name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_name(name)
    assert refusal.value.field == "name"


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " x",
        "x ",
        "x.",
        ".hidden",
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        # Turns the rest of the name round where it is shown.
        "gpj.\u202eexe",
        "a\u200bb",
        "a\ud800b",
        "a:b",
        "a*b",
        "a?b",
        'a"b',
        "a<b",
        "a>b",
        "a|b",
        "x" * (NAME_BYTES + 1),
        "é" * 128,
    ],
)
def test_what_cannot_be_shown_or_saved_everywhere_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        check_name(name)


@pytest.mark.parametrize(
    "name",
    ["CON", "con", "nul.txt", "PRN.tar.gz", "Aux", "COM1", "lpt9.x", "COM¹", "CONIN$", "NUL .txt"],
)
def test_a_device_of_windows_is_no_file(name: str) -> None:
    with pytest.raises(Invalid):
        check_name(name)


def test_the_refusal_names_the_field_it_is_about() -> None:
    with pytest.raises(Invalid) as refusal:
        check_name("a/b", field="filename")
    assert refusal.value.field == "filename"
