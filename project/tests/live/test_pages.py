"""The pages in a real Chromium: operate, watch, replay, lose the server and find it again."""

import math
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Page, expect

from project.tests.live.raw import RawWebSocket
from project.tests.live.server import Server
from project.tests.live.surgeons import eventually, movement, saved_id, stored

pytest_plugins = ["project.tests.live.browser"]
pytestmark = pytest.mark.browser

SURGEON = "surgeon_master"
FEEDBACK = "✅ BUENO | Score: 88.5/100\n<b>not markup</b>"
WIDTH, HEIGHT = 20, 13
TUMOUR = (-2.6, 1.35)
# Connections are counted every five seconds, and asked for every five seconds.
HEARTBEAT_MS = 15_000

# Of `project.tests.live.browser`, which pytest imports: from (server, **options) to a Visitor.
Visit = Callable[..., Any]
Connect = Callable[..., RawWebSocket]


# --- A surgeon's hand -------------------------------------------------------------------


class Hand:
    """Moves the mouse over the operating field, in the field's own coordinates."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.box = page.locator("#field").bounding_box() or {}

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        return (
            self.box["x"] + (x / WIDTH + 0.5) * self.box["width"],
            self.box["y"] + (0.5 - y / HEIGHT) * self.box["height"],
        )

    def move(self, x: float, y: float, *, steps: int = 10) -> None:
        self.page.mouse.move(*self.pixel(x, y), steps=steps)
        self.page.wait_for_timeout(40)

    def press(self, *places: tuple[float, float]) -> None:
        """Cut along some places, lingering at each."""
        self.move(*places[0])
        self.page.mouse.down()
        for place in places:
            self.move(*place, steps=3)
            self.page.wait_for_timeout(220)
        self.page.mouse.up()
        self.page.wait_for_timeout(60)

    def wander(self, rounds: int = 1) -> None:
        for step in range(12 * rounds):
            angle = step * math.pi / 6
            self.move(7 + math.cos(angle), -4 + math.sin(angle), steps=2)


def begin(page: Page) -> Hand:
    """Start an operation and return the hand that operates."""
    page.get_by_role("button", name="Start the operation").click()
    expect(page.locator("[data-link]")).to_have_text("Live")
    return Hand(page)


def finish(page: Page) -> None:
    page.get_by_role("button", name="Finish the operation").click()
    expect(page.get_by_role("heading", name="Operation saved")).to_be_visible(timeout=20_000)


def shown(page: Page, field: str) -> int:
    """Return the number that the page shows in a field."""
    return int(page.locator(f'[data-field="{field}"]').first.inner_text().replace(",", ""))


def surgery_of(page: Page) -> UUID:
    """Return the operation whose replay the page links to after it was saved."""
    href = page.get_by_role("link", name="Replay this operation").get_attribute("href") or ""
    return UUID(href.rstrip("/").rpartition("/")[2])


def analyse(server: Server, surgery_id: UUID, *, score: float = 88.5) -> None:
    """Post what the AI service found."""
    status, _ = server.request(
        "POST",
        f"/api/v1/surgeries/{surgery_id}/analysis",
        token=server.token_for("ia_justina"),
        body={"score": score, "feedback": FEEDBACK},
    )
    assert status == 204


def assert_complete(surgery_id: UUID, *, movements: int) -> list[str]:
    """Assert that each movement the page made is stored once, in order; return the events."""
    frames = stored(surgery_id)
    timestamps = [frame["timestamp"] for frame in frames]
    assert timestamps == sorted(set(timestamps))
    assert len(frames) == movements
    events = [frame["event"] for frame in frames]
    assert events[0] == "START"
    assert events[-1] == "FINISH"
    assert events.count("START") == events.count("FINISH") == 1
    return events


# --- Simulator ----------------------------------------------------------------------------


def test_an_operation_by_mouse_is_stored_scored_and_shown(pages: Server, visit: Visit) -> None:
    page = visit(pages).sign_in(SURGEON, "/simulator")
    hand = begin(page)
    hand.press(TUMOUR, (TUMOUR[0] + 0.4, TUMOUR[1] + 0.3))
    hand.press((0, -3))
    hand.press((4.6, 0.1))
    finish(page)
    surgery_id = surgery_of(page)
    events = assert_complete(surgery_id, movements=shown(page, "frames"))
    assert events.count("TUMOR_REMOVAL") == shown(page, "removed") >= 1
    assert events.count("TUMOR_TOUCH") >= events.count("TUMOR_REMOVAL")
    assert events.count("KIDNEY_TOUCH") == shown(page, "touches") == 1
    assert events.count("HEMORRHAGE") == shown(page, "bleedings") == 1
    analyse(pages, surgery_id)
    expect(page.locator("#result")).to_contain_text("88.5")
    expect(page.locator("#result")).to_contain_text("<b>not markup</b>")


def test_it_streams_at_the_rate_of_the_display_even_when_the_hand_rests(
    pages: Server, visit: Visit
) -> None:
    page = visit(pages).sign_in(SURGEON, "/simulator")
    begin(page)
    before = shown(page, "frames")
    page.wait_for_timeout(2000)
    assert shown(page, "frames") - before > 40
    assert shown(page, "waiting") < 30
    finish(page)


def test_the_keyboard_operates(pages: Server, visit: Visit) -> None:
    page = visit(pages).sign_in(SURGEON, "/simulator")
    begin(page)
    page.mouse.move(0, 0)
    page.keyboard.down("ArrowLeft")
    page.wait_for_timeout(500)
    page.keyboard.up("ArrowLeft")
    page.keyboard.press("Space", delay=200)
    finish(page)
    frames = stored(surgery_of(page))
    assert frames[-1]["coordinates"][0] < frames[0]["coordinates"][0] - 1


def test_a_finger_operates_on_a_small_screen(pages: Server, visit: Visit) -> None:
    small = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    page = visit(pages, **small).sign_in(SURGEON, "/simulator")
    hand = begin(page)
    page.touchscreen.tap(*hand.pixel(0, -3))
    page.wait_for_timeout(200)
    finish(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert stored(surgery_of(page))[-1]["coordinates"][:2] == pytest.approx([0, -3], abs=0.3)


def test_an_operation_goes_on_after_the_server_was_killed(
    mortal_pages: Server, visit: Visit
) -> None:
    page = visit(mortal_pages).sign_in(SURGEON, "/simulator")
    hand = begin(page)
    hand.press(TUMOUR)
    mortal_pages.kill()
    expect(page.locator("[data-link]")).to_contain_text("trying again")
    hand.press((0, -3))
    assert shown(page, "waiting") > 10
    mortal_pages.restart()
    expect(page.locator("[data-link]")).to_have_text("Live", timeout=25_000)
    hand.press((4.6, 0.1))
    finish(page)
    events = assert_complete(surgery_of(page), movements=shown(page, "frames"))
    assert events.count("KIDNEY_TOUCH") == 1
    assert events.count("HEMORRHAGE") == 1


def test_finish_is_repeated_until_it_is_answered(mortal_pages: Server, visit: Visit) -> None:
    page = visit(mortal_pages).sign_in(SURGEON, "/simulator")
    hand = begin(page)
    hand.wander()
    mortal_pages.kill()
    page.get_by_role("button", name="Finish the operation").click()
    expect(page.get_by_role("heading", name="Saving the operation")).to_be_visible()
    mortal_pages.restart()
    expect(page.get_by_role("heading", name="Operation saved")).to_be_visible(timeout=25_000)
    assert_complete(surgery_of(page), movements=shown(page, "frames"))


def test_a_reloaded_page_goes_on_with_the_same_operation(pages: Server, visit: Visit) -> None:
    page = visit(pages).sign_in(SURGEON, "/simulator")
    page.on("dialog", lambda dialog: dialog.accept())
    hand = begin(page)
    hand.press((0, -3))
    page.reload()
    page.get_by_role("button", name="Go on with it").click()
    expect(page.locator("[data-link]")).to_have_text("Live")
    assert shown(page, "touches") == 1
    Hand(page).wander()
    finish(page)
    events = [frame["event"] for frame in stored(surgery_of(page))]
    assert events.count("START") == 1
    assert "KIDNEY_TOUCH" in events


def test_a_second_window_takes_the_operation_over_and_the_first_says_so(
    pages: Server, visit: Visit, connect: Connect
) -> None:
    page = visit(pages).sign_in(SURGEON, "/simulator")
    begin(page)
    eventually(lambda: shown(page, "frames") > 20)
    page.wait_for_timeout(600)
    surgery_id = page.evaluate('JSON.parse(sessionStorage["vitalwire.operation"]).surgeryId')
    connect(pages.ws_url("/ws/simulation", token=pages.token_for(SURGEON), surgery=surgery_id))
    expect(page.get_by_role("heading", name="The connection was refused")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("[data-link]")).to_have_text("Live")
    finish(page)
    assert_complete(UUID(surgery_id), movements=shown(page, "frames"))


def test_somebody_who_is_no_surgeon_is_asked_to_sign_in_as_one(pages: Server, visit: Visit) -> None:
    page = visit(pages).sign_in("operator", "/simulator")
    page.get_by_role("link", name="Sign in as a surgeon").click()
    page.get_by_label("User name").fill(SURGEON)
    page.get_by_label("Password").fill("justina2024")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Start the operation")).to_be_visible()


# --- Dashboard ----------------------------------------------------------------------------


def path_length(page: Page, surgery_id: object) -> int:
    """Return how many points the operation's live view has drawn."""
    return page.evaluate(
        "id => document.querySelector(`#wall [data-surgery='${id}'] .plot`)?.data[1].x.length",
        str(surgery_id),
    )


def operate(server: Server, connect: Connect) -> tuple[RawWebSocket, UUID]:
    """Begin an operation without a page; return its socket and its id."""
    surgery_id = uuid4()
    token = server.token_for(SURGEON)
    socket = connect(server.ws_url("/ws/simulation", token=token, surgery=str(surgery_id)))
    socket.send_json(movement("START"))
    return socket, surgery_id


def send_movements(socket: RawWebSocket, count: int, *, first: int = 0) -> None:
    for step in range(first, first + count):
        socket.send_json(movement("NONE", coordinates=[math.sin(step / 9), step / 50, 1.0]))


def test_the_dashboard_draws_a_live_operation_and_shows_its_score(
    pages: Server, visit: Visit, connect: Connect
) -> None:
    page = visit(pages).sign_in("operator", "/dashboard/")
    expect(page.locator("[data-link]")).to_have_text("Live")
    socket, surgery_id = operate(pages, connect)
    send_movements(socket, 99)
    view = page.locator(f'#wall [data-surgery="{surgery_id}"]')
    expect(view).to_contain_text("100 movements")
    expect(view).to_contain_text("In progress")
    eventually(lambda: path_length(page, surgery_id) == 100)
    send_movements(socket, 100, first=100)
    eventually(lambda: path_length(page, surgery_id) == 200)
    socket.send_json(movement("FINISH"))
    assert saved_id(socket.read()) == surgery_id
    row = page.locator(f'#operations tr[data-surgery="{surgery_id}"]')
    expect(row).to_contain_text("Completed")
    analyse(pages, surgery_id)
    expect(row).to_contain_text("88.5")


def test_the_dashboard_draws_what_came_before_it_was_opened(
    pages: Server, visit: Visit, connect: Connect
) -> None:
    socket, surgery_id = operate(pages, connect)
    send_movements(socket, 149)
    eventually(lambda: len(stored(surgery_id)) == 150)
    page = visit(pages).sign_in("operator", "/dashboard/")
    eventually(lambda: path_length(page, surgery_id) == 150)


def test_the_dashboard_misses_nothing_while_the_server_restarts(
    mortal_pages: Server, visit: Visit, connect: Connect
) -> None:
    page = visit(mortal_pages).sign_in("operator", "/dashboard/")
    expect(page.locator("[data-link]")).to_have_text("Live")
    mortal_pages.terminate()
    expect(page.locator("[data-link]")).to_contain_text("trying again")
    mortal_pages.restart()
    socket, surgery_id = operate(mortal_pages, connect)
    socket.send_json(movement("FINISH"))
    assert saved_id(socket.read()) == surgery_id
    expect(page.locator("[data-link]")).to_have_text("Live", timeout=25_000)
    expect(page.locator(f'#operations tr[data-surgery="{surgery_id}"]')).to_contain_text(
        "Completed"
    )


def test_the_dashboard_counts_connections(pages: Server, visit: Visit, connect: Connect) -> None:
    page = visit(pages).sign_in("operator", "/dashboard/")
    connect(pages.ws_url("/ws/ai", token=pages.token_for("ia_justina")))
    expect(page.locator('[data-endpoint="ai"] dd')).not_to_have_text("0", timeout=HEARTBEAT_MS)


def test_a_dashboard_whose_session_ended_says_so(pages: Server, visit: Visit) -> None:
    visitor = visit(pages)
    page = visitor.sign_in("operator", "/dashboard/")
    expect(page.locator("[data-link]")).to_have_text("Live")
    page.context.clear_cookies()
    expect(page.locator("[data-link]")).to_contain_text("Signed out", timeout=HEARTBEAT_MS)
    assert all("401" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()


# --- One operation ------------------------------------------------------------------------


@pytest.fixture
def operation(pages: Server, connect: Connect) -> UUID:
    """A stored operation of four seconds with two marked events."""
    socket = connect(pages.ws_url("/ws/simulation", token=pages.token_for(SURGEON)))
    started_ms = time.time_ns() // 1_000_000
    events = {0: "START", 100: "TUMOR_REMOVAL", 200: "HEMORRHAGE", 240: "FINISH"}
    for step in range(241):
        place = [math.cos(step / 20) * 4, math.sin(step / 20) * 4, step / 100]
        event = events.get(step, "NONE")
        timestamp = started_ms + step * 1000 // 60
        socket.send_json(movement(event, coordinates=place, timestamp=timestamp))
    return saved_id(socket.read())


def clock(page: Page) -> float:
    minutes, seconds = page.locator("#clock").inner_text().split(" of ")[0].split(":")
    return int(minutes) * 60 + float(seconds)


def drawn(page: Page) -> int:
    return page.evaluate("document.querySelector('.plot').data[1].x.length")


def test_a_replay_plays_pauses_seeks_and_changes_speed(
    pages: Server, visit: Visit, operation: UUID
) -> None:
    page = visit(pages).sign_in("operator", f"/dashboard/surgeries/{operation}/")
    expect(page.locator("#clock")).to_have_text("0:04.0 of 0:04.0")
    page.get_by_role("button", name="Play").click()
    eventually(lambda: 0.3 < clock(page) < 3)
    page.get_by_role("button", name="Pause").click()
    paused_at, drawn_at = clock(page), drawn(page)
    page.wait_for_timeout(300)
    assert clock(page) == paused_at
    assert 0 < drawn_at < 240
    page.get_by_label("Position in the replay").fill("2000")
    assert clock(page) == 2.0
    assert drawn(page) == pytest.approx(122, abs=3)
    page.get_by_label("Speed").select_option("8")
    page.get_by_role("button", name="Play").click()
    eventually(lambda: clock(page) == 4.0, within=1.5)
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_events_stand_on_the_time_line_and_in_3d_and_lead_to_their_moment(
    pages: Server, visit: Visit, operation: UUID
) -> None:
    page = visit(pages).sign_in("operator", f"/dashboard/surgeries/{operation}/")
    expect(page.locator("#marks .mark")).to_have_count(2)
    marked = page.evaluate("document.querySelector('.plot').data.slice(3).map(t => t.x.length)")
    assert marked == [0, 1, 0, 1]
    page.get_by_role("button", name="Bleeding").click()
    assert clock(page) == pytest.approx(3.3, abs=0.05)


def test_metrics_and_a_late_analysis_are_shown(
    pages: Server, visit: Visit, operation: UUID
) -> None:
    page = visit(pages).sign_in("operator", f"/dashboard/surgeries/{operation}/")
    expect(page.locator("#metrics")).to_contain_text("Path length")
    expect(page.locator("[data-link]")).to_have_text("Live")
    analyse(pages, operation)
    expect(page.locator('[data-field="score"]')).to_have_text("88.5")
    expect(page.locator('[data-field="feedback"]')).to_contain_text("<b>not markup</b>")


def test_an_operation_in_progress_is_followed(
    pages: Server, visit: Visit, connect: Connect
) -> None:
    socket, surgery_id = operate(pages, connect)
    send_movements(socket, 49)
    eventually(lambda: len(stored(surgery_id)) == 50)
    page = visit(pages).sign_in("operator", f"/dashboard/surgeries/{surgery_id}/")
    expect(page.locator('[data-field="movements"]')).to_have_text("50")
    expect(page.locator("[data-link]")).to_have_text("Live")
    send_movements(socket, 50, first=50)
    expect(page.locator('[data-field="movements"]')).to_have_text("100")
    socket.send_json(movement("FINISH"))
    expect(page.locator("main [data-status]")).to_have_text("Completed")


# --- Every page ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_small_screen(
    pages: Server, visit: Visit, operation: UUID, scheme: str
) -> None:
    window = visit(pages, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = window.sign_in(SURGEON, "/dashboard/")
    for path in ("/", "/dashboard/", "/simulator", f"/dashboard/surgeries/{operation}/"):
        page.goto(pages.url + path, wait_until="networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
