"""The parts of the pages' scripts that decide something, called one by one in a Chromium."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from project.tests.live.server import Server

pytest_plugins = ["project.tests.live.browser"]
pytestmark = pytest.mark.browser

Run = Callable[..., Any]

NUMBERED = "const some = (from, to) => Array.from({length: to - from}, (_, i) => ({n: from + i}));"
NUMBERS = "track.movements.map(({n}) => n)"


@pytest.fixture(scope="module")
def run(browser: Browser, pages: Server) -> Iterator[Run]:
    """Return a function that imports a module's names and answers what a body returns."""
    page = browser.new_page()
    page.goto(pages.url)

    def run_in_page(module: str, names: str, body: str) -> Any:
        imported = f"const {{{names}}} = await import('/static/realtime/{module}');"
        return page.evaluate(f"async () => {{ {imported} {NUMBERED} {body} }}")

    yield run_in_page
    page.close()


def in_track(run: Run, body: str) -> Any:
    return run("track.js", "Track", f"const track = new Track(); {body}")


def test_live_chunks_join_without_doubles(run: Run) -> None:
    body = f"track.take(0, some(0, 4)); track.take(2, some(2, 6)); return {NUMBERS}"
    assert in_track(run, body) == [0, 1, 2, 3, 4, 5]


def test_a_chunk_beyond_a_hole_waits_for_the_stored_trajectory(run: Run) -> None:
    body = f"""
        track.take(0, some(0, 2));
        const early = track.take(4, some(4, 6));
        const hadHole = track.hasHole;
        const fresh = track.refill(some(0, 5)).map(({{n}}) => n);
        return [early, hadHole, fresh, track.hasHole, {NUMBERS}];
    """
    assert in_track(run, body) == [[], True, [2, 3, 4, 5], False, [0, 1, 2, 3, 4, 5]]


def test_a_stored_trajectory_that_lags_takes_nothing_away(run: Run) -> None:
    body = f"track.take(0, some(0, 6)); track.refill(some(0, 3)); return {NUMBERS}"
    assert in_track(run, body) == [0, 1, 2, 3, 4, 5]


def test_a_hole_that_nobody_can_fill_is_accepted_at_last(run: Run) -> None:
    body = f"""
        track.take(3, some(3, 5));
        for (let i = 0; i < 5; i += 1) track.refill(some(0, 1));
        return {NUMBERS};
    """
    assert in_track(run, body) == [0, 3, 4]


def test_thinning_keeps_the_newest_point_and_the_bound(run: Run) -> None:
    body = "const t = thinned(some(0, 50001), 20000); return [t.length, t.at(-1).n]"
    length, newest = run("track.js", "thinned", body)
    assert 10_000 <= length <= 20_000
    assert newest == 50_000


def test_waiting_times_double_up_to_a_limit_and_differ(run: Run) -> None:
    body = """
        const least = new Backoff({firstMs: 100, limitMs: 1000, random: () => 0});
        const most = new Backoff({firstMs: 100, limitMs: 1000, random: () => 1});
        const steps = [0, 1, 2, 3, 4, 5].map(() => [least.next(), most.next()]);
        most.reset();
        return [steps, most.next()];
    """
    steps, after_reset = run("backoff.js", "Backoff", body)
    assert steps == [[50, 100], [100, 200], [200, 400], [400, 800], [500, 1000], [500, 1000]]
    assert after_reset == 100


def test_a_replay_stops_at_its_end_and_begins_again(run: Run) -> None:
    body = """
        const player = new Player([0, 100, 200]);
        player.speed = 4;
        player.play(1000);
        player.tick(1030);
        const middle = [player.position, player.index, player.isPlaying];
        player.tick(1100);
        const end = [player.position, player.index, player.isPlaying];
        player.play(2000);
        return [middle, end, player.position];
    """
    middle, end, again = run("player.js", "Player", body)
    assert middle == [120, 1, True]
    assert end == [200, 2, False]
    assert again == 0


@pytest.mark.parametrize(
    ("timestamps", "times"),
    [
        ([1000, 1016, 1033], [0, 16, 33]),
        ([1000, 900, 1100], [0, 0, 100]),  # a clock that was set back
        ([5, 5, 5], [0, 1000 / 60, 2000 / 60]),  # no clock at all
        ([1, 2**53 - 1], [0, 1000 / 60]),  # a clock that jumped
        ([7], [0]),
        ([], []),
    ],
)
def test_a_bad_clock_does_not_spoil_a_replay(
    run: Run, timestamps: list[int], times: list[float]
) -> None:
    body = f"return timesOf({timestamps}.map((timestamp) => ({{timestamp}})))"
    assert run("player.js", "timesOf", body) == pytest.approx(times)


def test_a_quick_stroke_does_not_jump_over_the_artery(run: Run) -> None:
    body = """
        const field = new Field();
        field.move(6.6, -4, 1000);
        field.pressDown();
        field.move(6.6, 4, 16);
        field.lift();
        return field.events;
    """
    assert run("anatomy.js", "Field", body) == ["HEMORRHAGE"]


def test_a_hovering_instrument_touches_nothing(run: Run) -> None:
    body = "const f = new Field(); f.move(-2.6, 1.3, 500); f.move(0, -3, 500); return f.events"
    assert run("anatomy.js", "Field", body) == []


def test_every_fragment_lies_on_the_kidney_and_apart_from_the_others(run: Run) -> None:
    body = """
        const {fragments} = new Field();
        const inside = fragments.every(({x, y}) => eccentricity(x, y) < 1);
        const gaps = fragments.flatMap((a, i) => fragments.slice(i + 1).map(
            (b) => Math.hypot(a.x - b.x, a.y - b.y)));
        return [fragments.length, inside, Math.min(...gaps)];
    """
    number, inside, gap = run("anatomy.js", "Field, eccentricity", body)
    assert number == 25
    assert inside
    assert gap > 0.35


# --- Charts -----------------------------------------------------------------------------------

CHART = """
    const chart = new LineChart(document.createElement("div"));
    const at = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();
"""


def in_chart(run: Run, body: str) -> Any:
    return run("chart.js", "LineChart", f"{CHART} {body}")


def test_a_late_value_has_its_place_in_a_chart(run: Run) -> None:
    body = "[-3, -1, -2].forEach((s) => chart.append(at(s), s)); return chart.values"
    assert in_chart(run, body) == [-3, -2, -1]


def test_a_value_that_comes_again_is_drawn_once(run: Run) -> None:
    body = """
        const times = [at(-3), at(-2)];
        chart.append(times[1], 2);
        chart.fill(times, [1, 2]);
        return chart.values;
    """
    assert in_chart(run, body) == [1, 2]


def test_a_chart_forgets_what_is_older_than_an_hour(run: Run) -> None:
    body = "[-3700, -3500, 0].forEach((s) => chart.append(at(s), s)); return chart.values"
    assert in_chart(run, body) == [-3500, 0]


def test_a_clock_that_is_ahead_does_not_push_out_the_rest(run: Run) -> None:
    body = "[-60, 1e7, -30].forEach((s) => chart.append(at(s), s)); return chart.values"
    assert in_chart(run, body) == [-60, -30, 1e7]


def test_figures_are_short_whatever_their_size(run: Run) -> None:
    body = "return [0, 21.534, -0.5, 1e308, 1e-9].map(figure)"
    assert run("page.js", "figure", body) == ["0", "21.53", "-0.5", "1e+308", "1e-9"]


def test_positions_are_compared_within_one_epoch_only(run: Run) -> None:
    pairs = [("e-9", "e-10"), ("e-10", "e-10"), ("e-11", "e-10"), ("f-9", "e-10"), ("e-9", None)]
    body = f"return {json.dumps(pairs)}.map(([one, other]) => isBefore(one, other));"
    assert run("page.js", "isBefore", body) == [True, False, False, False, False]
