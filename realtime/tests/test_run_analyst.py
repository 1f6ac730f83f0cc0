"""`manage.py run_analyst`: the client's analyst with our score function and the given account."""

from uuid import UUID

import pytest
from django.core.management import call_command

from devices.scoring import assess
from realtime.management.commands import run_analyst

SURGERY = UUID("550e8400-e29b-41d4-a716-446655440000")


@pytest.fixture
def analysts(monkeypatch):
    """Replace the analyst by one that reports a single analysis and ends."""
    made = []

    class OneAnalysis:
        def __init__(self, rest, score, *, on_analysed):
            made.append((rest, score))
            self.on_analysed = on_analysed

        async def run(self):
            self.on_analysed(SURGERY, 87.25)

    monkeypatch.setattr(run_analyst, "Analyst", OneAnalysis)
    return made


def test_the_account_comes_from_the_settings(analysts, settings):
    settings.IA_USERNAME = "ia_other"
    settings.IA_PASSWORD = "ia_other_secret"
    call_command("run_analyst")
    rest, score = analysts[0]
    assert repr(rest) == "<RestClient ia_other at http://127.0.0.1:8000>"
    assert score is assess


def test_options_win_over_the_settings(analysts):
    call_command("run_analyst", url="http://10.0.0.1:9000", username="ia", password="x")
    rest, _ = analysts[0]
    assert repr(rest) == "<RestClient ia at http://10.0.0.1:9000>"


def test_each_analysis_has_a_line(analysts, capsys):
    call_command("run_analyst", username="ia", password="x")
    assert capsys.readouterr().out == f"{SURGERY} analysed: 87.2\n"
