"""Variables are read with their types, and a wrong one stops the start by name."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from project import env

NAME = "VITALWIRE_TEST_VARIABLE"


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch):
    """Return a function that sets the variable, or unsets it with None."""
    monkeypatch.delenv(NAME, raising=False)

    def write(value: str | None) -> None:
        if value is None:
            monkeypatch.delenv(NAME, raising=False)
        else:
            monkeypatch.setenv(NAME, value)

    return write


def test_text_is_stripped(variable) -> None:
    variable("  words  ")
    assert env.text(NAME) == "words"


def test_a_missing_text_is_the_default() -> None:
    assert env.text(NAME, "default") == "default"


@pytest.mark.parametrize("word", ["1", "true", "YES", "On"])
def test_a_switch_is_on_by_any_usual_word(variable, word: str) -> None:
    variable(word)
    assert env.boolean(NAME, default=False) is True


@pytest.mark.parametrize("word", ["0", "false", "NO", "off", ""])
def test_a_switch_is_off_by_any_usual_word(variable, word: str) -> None:
    variable(word)
    assert env.boolean(NAME, default=True) is False


def test_a_missing_switch_is_the_default() -> None:
    assert env.boolean(NAME, default=True) is True


def test_another_word_is_no_switch(variable) -> None:
    variable("perhaps")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME}='perhaps' is not a switch"):
        env.boolean(NAME, default=False)


@pytest.mark.parametrize("value", [1, 5, 9])
def test_a_number_within_its_range_is_taken(variable, value: int) -> None:
    variable(str(value))
    assert env.integer(NAME, 3, least=1, most=9) == value


@pytest.mark.parametrize("raw", ["0", "10", "-1"])
def test_a_number_out_of_range_is_refused_with_the_range(variable, raw: str) -> None:
    variable(raw)
    with pytest.raises(ImproperlyConfigured, match=rf"{NAME}={raw} is out of range: use 1 to 9"):
        env.integer(NAME, 3, least=1, most=9)


@pytest.mark.parametrize("raw", ["ten", "1.5", "1e3", ""])
def test_what_is_no_whole_number_is_refused(variable, raw: str) -> None:
    variable(raw)
    with pytest.raises(ImproperlyConfigured, match=NAME):
        env.integer(NAME, 3)


def test_words_are_split_at_commas_and_empty_ones_left_out(variable) -> None:
    variable(" a, ,b ,")
    assert env.words(NAME) == ["a", "b"]


def test_a_choice_is_one_of_the_allowed(variable) -> None:
    variable("FULL")
    assert env.choice(NAME, "NORMAL", {"NORMAL", "FULL"}) == "FULL"


def test_an_unknown_choice_is_refused_with_the_allowed(variable) -> None:
    variable("HALF")
    with pytest.raises(ImproperlyConfigured, match=r"use one of \['FULL', 'NORMAL'\]"):
        env.choice(NAME, "NORMAL", {"NORMAL", "FULL"})


def test_a_long_secret_is_taken(variable) -> None:
    variable("s" * 32)
    assert env.secret(NAME, debug=False) == "s" * 32


def test_a_missing_secret_stops_the_start() -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} is missing or shorter than 32"):
        env.secret(NAME, debug=False)


@pytest.mark.parametrize("debug", [True, False])
def test_a_short_secret_stops_the_start_and_is_not_shown(variable, *, debug: bool) -> None:
    variable("too-short")
    with pytest.raises(ImproperlyConfigured, match="shorter than 32") as refusal:
        env.secret(NAME, debug=debug)
    assert "too-short" not in str(refusal.value)


def test_development_needs_no_secret() -> None:
    assert len(env.secret(NAME, debug=True)) >= 32


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("sqlite:////tmp/a.sqlite3", "django.db.backends.sqlite3", "/tmp/a.sqlite3"),
        ("postgres://u:p@h:5433/n", "django.db.backends.postgresql", "n"),
        ("postgresql://u:p@h/n", "django.db.backends.postgresql", "n"),
    ],
)
def test_a_database_url_is_understood(variable, url: str, engine: str, name: str) -> None:
    variable(url)
    config = env.database(NAME, "sqlite:///unused")
    assert (config["ENGINE"], config["NAME"]) == (engine, name)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/n",
        "unheard-of://u:secret@h/n",
        "nonsense",
        "postgres://u:secret@h:port/n",
    ],
)
def test_another_database_is_refused_without_showing_its_password(variable, url: str) -> None:
    variable(url)
    with pytest.raises(ImproperlyConfigured, match=NAME) as refusal:
        env.database(NAME, "sqlite:///unused")
    assert "secret" not in str(refusal.value)


def test_the_real_environment_wins_over_the_file(
    tmp_path: Path, variable, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable("from the environment")
    monkeypatch.setenv("VITALWIRE_TEST_OTHER", "set here so that it is removed afterwards")
    monkeypatch.delenv("VITALWIRE_TEST_OTHER")
    file = tmp_path / ".env"
    file.write_text(f"{NAME}=from the file\nVITALWIRE_TEST_OTHER=only there\n")
    env.load_file(file)
    assert env.text(NAME) == "from the environment"
    assert env.text("VITALWIRE_TEST_OTHER") == "only there"


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    env.load_file(tmp_path / "absent")


def test_an_object_is_read_as_json(variable) -> None:
    variable('{"bucket": "files"}')
    assert env.json_object(NAME) == {"bucket": "files"}


def test_a_missing_object_is_empty() -> None:
    assert env.json_object(NAME) == {}


@pytest.mark.parametrize("value", ["files", "[]", '{"secret": '])
def test_what_is_no_object_is_refused_without_showing_it(variable, value: str) -> None:
    variable(value)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} is not JSON") as refusal:
        env.json_object(NAME)
    assert value not in str(refusal.value)
