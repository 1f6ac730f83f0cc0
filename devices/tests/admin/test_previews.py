"""The page on which a rule is tried out."""

import pytest
from django.test import Client

from accounts.models import User
from devices.admin import previews as module
from devices.backtest import Episode, Outcome, Pair
from devices.models import AlertRule, Device
from devices.services.previews import Preview, preview_rule
from devices.tests.admin.pages import page_of, signed_in
from devices.tests.builders import a_rule
from devices.tests.rules import at
from realtime.core.errors import Unavailable


@pytest.fixture
def client(operator: User) -> Client:
    return signed_in(operator)


@pytest.fixture
def rule(device: Device) -> AlertRule:
    return a_rule(device)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch, device: Device) -> list[float]:
    """Let the child process find two alerts; return the thresholds that it was asked about."""
    asked: list[float] = []

    def found(function: object, source: object, cases: list, *times: object) -> list[Outcome]:
        asked.extend(case.rule.threshold for case in cases)
        alerts = [Episode(device.pk, at(0), 31.5, at(60)), Episode(device.pk, at(90), 33.0)]
        return [Outcome(alerts, 2, at(60) - at(0), 10) for _ in cases]

    monkeypatch.setattr(
        module, "preview_rule", lambda rule, **given: preview_rule(rule, run=found, **given)
    )
    return asked


def test_the_page_shows_what_the_rule_would_have_raised(
    client: Client, rule: AlertRule, computed: list[float]
) -> None:
    page = client.get(page_of(rule, "preview"), follow=True)
    assert page.status_code == 200
    text = page.content.decode()
    assert "Warning: temperature above 30" in text
    assert "2026-03-05 10:30:00" in text
    assert "still open" in text
    assert "only today" not in text
    assert computed == [30.0]


def test_other_numbers_are_compared_with_today_s_and_not_saved(
    client: Client, rule: AlertRule, computed: list[float]
) -> None:
    tried = {"threshold": "32", "raise_after_seconds": "0", "clear_after_seconds": "0"}
    given = {**tried, "cooldown_seconds": "0", "clear_threshold": "", "hours": "2"}
    page = client.get(page_of(rule, "preview"), given)
    text = page.content.decode()
    assert "As it is today: 2 alerts" in text
    assert "at 2026-03-05 10:30:00" in text
    assert computed == [32.0, 30.0]
    rule.refresh_from_db()
    assert rule.threshold == 30.0


def test_numbers_that_no_rule_may_have_are_named(
    client: Client, rule: AlertRule, computed: list[float]
) -> None:
    given = {"threshold": "30", "clear_threshold": "40", "hours": "1000000"}
    page = client.get(page_of(rule, "preview"), given)
    assert page.context["form"].errors.keys() >= {"clear_threshold", "hours"}
    assert computed == []


def test_a_computation_that_is_cut_short_is_told(
    client: Client, rule: AlertRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise Unavailable("the computation took too long: try again later")

    monkeypatch.setattr(module, "preview_rule", cut)
    page = client.get(page_of(rule, "preview"))
    assert "took too long" in page.content.decode()


def test_whoever_may_not_see_rules_may_not_try_them(rule: AlertRule, member: User) -> None:
    assert signed_in(member).get(page_of(rule, "preview")).status_code in (302, 403)


def test_a_rule_that_is_gone_is_not_found(client: Client, rule: AlertRule) -> None:
    url = page_of(rule, "preview")
    AlertRule.objects.all().delete()
    assert client.get(url).status_code in (302, 404)


def test_a_line_says_which_rule_raises_it() -> None:
    one, other = Episode(1, at(0), 31.5), Episode(2, at(5), 31.5)
    nothing = Outcome([], 0, at(0) - at(0), 0)
    lines = [Pair(one, None), Pair(None, other), Pair(one, one)]
    preview = Preview(at(0), at(9), "", nothing, nothing, lines, {1: "Alpha"})
    assert [(row.device, row.beside) for row in preview.rows] == [
        ("Alpha", "only today"),
        ("2", "not raised"),
        ("Alpha", "at 2026-03-05 10:30:00"),
    ]
