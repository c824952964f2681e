"""The page in a real browser: exact frames, strokes equal to numpy's bit by bit, nothing lost, nobody else let in."""

import os
import re
import shutil
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import av
import numpy as np
import pytest
from fusion_core.view.clicks import Clicks, lacking_weights
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.library import Library, open_runs
from fusion_core.view.propagation import Propagation
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, decode_mask, encode_mask, open_video

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
expect = playwright.expect
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH, and CHROMIUM does not name one")

SIZE = (90, 160)
# What the browser itself says of an answer that the page asks for: a conflict, or no server.
EXPECTED = re.compile(r"^Failed to load resource: (the server responded with a status of 412|net::ERR_INTERNET_DIS)")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # In a container there is often no user but root, for whom Chromium has no sandbox.
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def corrected(opened):
    with opened("final") as corrected:
        yield corrected


@pytest.fixture
def address(corrected, served):
    with served(corrected) as address:
        yield address


@pytest.fixture
def open_page(browser):
    """A function that opens a page; afterwards no page may have complained, or asked anybody else for anything."""
    contexts, complaints, strangers = [], [], []

    def opened(address, **options):
        context = browser.new_context(**({"viewport": {"width": 1300, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: EXPECTED.search(message.text) or complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        origin = address.split("/?")[0]
        page.on("request", lambda one: one.url.startswith((origin, "blob:")) or strangers.append(one.url))
        page.goto(address)
        ready(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert (complaints, strangers) == ([], [])


@pytest.fixture
def page(address, open_page):
    return open_page(address)


def ready(page, frame=0):
    page.wait_for_selector(f'#stage[data-frame="{frame}"]')


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def go_to(page, frame):
    press(page, "Home", *["ArrowRight"] * frame)
    ready(page, frame)


def in_video(page, points):
    """Points of the page as those of the video, as numbers of the page's own arithmetic."""
    return page.evaluate(
        """(points) => {
            const box = document.getElementById("stage").getBoundingClientRect();
            const { a: scale, e: x, f: y } = new DOMMatrix(document.getElementById("sheet").style.transform);
            return points.map(([px, py]) => [(px - box.left - x) / scale, (py - box.top - y) / scale]);
        }""",
        points,
    )


def swept(mask, points, radius, value=True):
    """The numpy twin of the brush: pixels whose middle is at most `radius` from a line through the points."""
    mask = mask.copy()
    y, x = np.indices(mask.shape) + 0.5
    for (ax, ay), (bx, by) in zip(points, points[1:] or points, strict=False):
        dx, dy = bx - ax, by - ay
        long = dx * dx + dy * dy
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / long, 0, 1) if long else 0.0
        ex, ey = x - ax - along * dx, y - ay - along * dy
        mask[ex * ex + ey * ey <= radius * radius] = value
    return mask


def stroke(page, points):
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()


def kept(page):
    expect(page.locator("#saved")).to_have_text("kept")


def middle(page):
    box = page.locator("#stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def mask_of(corrected, i=0, e=0, v=0):
    return decode_mask(corrected.mask(v, e, i), SIZE)


def on_canvas(page):
    """Where the mask is coloured, bool [H, W]."""
    shown = page.evaluate(
        """() => {
            const canvas = document.getElementById("mask"), { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const data = copy.getImageData(0, 0, width, height).data;
            return Array.from({ length: width * height }, (_, p) => data[4 * p + 3] > 0);
        }"""
    )
    return np.reshape(shown, SIZE)


def test_masks_and_names_are_shown_as_they_are(page, world, corrected):
    expect(page.locator("#expression")).to_have_text(world.evil)
    assert page.title() == "dataset - fusion-core view"
    np.testing.assert_array_equal(on_canvas(page), mask_of(corrected))
    press(page, "]", "End")
    ready(page, 5)
    assert page.locator("#layer option:checked").text_content() == "a"
    np.testing.assert_array_equal(on_canvas(page), MaskRun.open(world.runs / "a").read("world00").tracks[0].mask(5))
    press(page, "j")
    expect(page.locator("#entries button").nth(1)).to_have_attribute("aria-current", "true")
    page.get_by_label("Find").fill("world01")
    assert "world01 / 0" in page.locator("#entries button").first.text_content()


def test_the_heat_map_shows_votes_and_the_rule(page):
    press(page, "[", "[", "[")  # round the end, to the vote `final`
    expect(page.locator("#layer option:checked")).to_have_text("final")
    press(page, "h")
    expect(page.locator("#legend span")).to_have_count(6)
    expect(page.locator("#legend .needed")).to_have_text("3")


@pytest.mark.parametrize(("zoom", "ratio"), [(0, 1), (-400, 1), (700, 1), (0, 2)])
def test_a_stroke_is_bit_equal_to_numpy(address, open_page, corrected, zoom, ratio):
    page = open_page(address, device_scale_factor=ratio)
    before = mask_of(corrected)
    x, y = middle(page)
    page.mouse.move(x, y)
    if zoom:
        shown = page.locator("#zoom").text_content()
        page.mouse.wheel(0, -zoom)
        expect(page.locator("#zoom")).not_to_have_text(shown)
    press(page, "b", "[", "[", "[")
    radius = int(page.locator("#radius").text_content())
    points = [(x - 60, y - 20), (x + 35, y + 8), (x + 36, y + 9), (x + 90, y - 70)]
    stroke(page, points)
    kept(page)
    drawn = swept(before, in_video(page, points), radius)
    np.testing.assert_array_equal(mask_of(corrected), drawn)
    np.testing.assert_array_equal(on_canvas(page), drawn)
    press(page, "e")
    stroke(page, points[:2])
    expect(page.locator("#undo")).to_be_enabled()
    kept(page)
    erased = swept(drawn, in_video(page, points[:2]), radius, value=False)
    np.testing.assert_array_equal(mask_of(corrected), erased)


def test_a_stroke_that_leaves_the_picture_and_one_without_a_move(page, corrected):
    press(page, "b")
    before, (x, y) = mask_of(corrected), middle(page)
    points = [(x, y), (x + 2000, y + 40)]
    stroke(page, points)
    kept(page)
    after = swept(before, in_video(page, points), 20)
    np.testing.assert_array_equal(mask_of(corrected), after)
    stroke(page, [(x - 200, y - 100)])
    kept(page)
    np.testing.assert_array_equal(mask_of(corrected), swept(after, in_video(page, [(x - 200, y - 100)]), 20))


def test_a_polygon_across_itself_is_filled_by_the_even_odd_rule(page, corrected):
    before, (x, y) = mask_of(corrected), middle(page)
    points = [(x - 150, y - 90), (x + 140, y + 95), (x + 150, y - 80), (x - 145, y + 100), (x - 200, y + 3)]
    press(page, "p")
    for point in [*points, (x, y)]:
        page.mouse.click(*point)
    page.mouse.click(x, y, button="right")  # takes the last corner back
    press(page, "Enter")
    kept(page)
    corners = in_video(page, points)
    rows, columns = np.indices(SIZE) + 0.5
    inside = np.zeros(SIZE, bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if ay != by:
            crosses = (ay <= rows) != (by <= rows)
            inside ^= crosses & (columns >= ax + ((rows - ay) * (bx - ax)) / (by - ay))
    assert 0 < inside.sum() < inside.size
    np.testing.assert_array_equal(mask_of(corrected), before | inside)


def test_escape_drops_a_stroke_and_undo_takes_back_a_kept_one(page, corrected):
    before, (x, y) = mask_of(corrected), middle(page)
    press(page, "b")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 50, y)
    press(page, "Escape")
    page.mouse.up()
    np.testing.assert_array_equal(on_canvas(page), before)
    assert corrected.corrections(0).revision == 0
    stroke(page, [(x, y), (x + 50, y)])
    kept(page)
    after = mask_of(corrected)
    assert (after != before).any()
    go_to(page, 4)
    press(page, "Control+z")
    ready(page, 0)  # shows what it has undone
    np.testing.assert_array_equal(mask_of(corrected), before)
    expect(page.locator("#redo")).to_be_enabled()
    np.testing.assert_array_equal(on_canvas(page), before)
    press(page, "Control+y")
    expect(page.locator("#redo")).to_be_disabled()
    np.testing.assert_array_equal(mask_of(corrected), after)


def test_a_stretch_is_taken_and_cleared_by_keys(page, corrected, world):
    press(page, "]")
    go_to(page, 1)
    press(page, "i")
    go_to(page, 3)
    press(page, "o", "t")
    expect(page.locator("#where")).to_contain_text("taken from a")
    masks = MaskRun.open(world.runs / "a").read("world00").tracks[0].masks
    assert [corrected.mask(0, 0, i) == masks[i] for i in range(1, 4)] == [True] * 3
    press(page, "i", "Home", "o")
    page.get_by_role("button", name="Not there").click()
    expect(page.locator("#where")).to_contain_text("not there")
    assert not any(mask_of(corrected, i).any() for i in range(4))
    page.get_by_role("button", name="Lock", exact=True).click()
    expect(page.locator("#where")).to_contain_text("locked")
    press(page, "b")
    stroke(page, [middle(page)])
    expect(page.locator("#note")).to_contain_text("Frame 00000 is locked; unlock it first")
    assert not mask_of(corrected).any()


def test_a_drawn_mask_is_carried_on(corrected, served, open_page, world):
    command = (sys.executable, str(Path(__file__).parents[1] / "acting.py"))
    data = ("--dataset", str(world.dataset.absolute()))
    with Propagation(corrected, data, {"acting": command}) as propagation, served(corrected, propagation) as address:
        page = open_page(address)
        go_to(page, 2)
        press(page, "b")
        stroke(page, [middle(page)])
        kept(page)
        press(page, "v", "r")
        expect(page.locator("#job")).to_have_text("done: 5 frames from 1 drawn masks", timeout=60_000)
        anchor = mask_of(corrected, 2)
        for i in range(6):
            np.testing.assert_array_equal(mask_of(corrected, i), np.roll(anchor, i - 2, axis=1))
        press(page, "ArrowRight")
        expect(page.locator("#where")).to_contain_text("carried on by acting")
        page.context.close()


@pytest.fixture
def clicked(corrected, served, open_page, world):
    """A page whose clicks are answered by a program that only acts: with boxes, and squares around points."""
    command = (sys.executable, str(Path(__file__).parents[1] / "acting.py"))
    data = ("--dataset", str(world.dataset.absolute()))
    with Clicks(corrected, data, command) as clicks, served(corrected, clicks=clicks) as address:
        page = open_page(address)
        press(page, "c")
        yield page
        page.context.close()


def hatched(page):
    """Where a proposal is hatched: pixels of its colour, in reading order."""
    return page.evaluate(
        """() => {
            const canvas = document.getElementById("mask"), { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const data = copy.getImageData(0, 0, width, height).data;
            return Array.from({ length: width * height }, (_, p) => data[4 * p + 3] > 0 && data[4 * p] < 100);
        }"""
    )


def proposed(page):
    expect(page.locator("#clicked")).to_have_text("Enter keeps it, Esc drops it", timeout=60_000)


def test_a_click_is_answered_and_enter_keeps_the_answer(clicked, corrected):
    page, before, (x, y) = clicked, mask_of(corrected), middle(clicked)
    page.mouse.click(x, y)
    proposed(page)
    [[px, py]] = in_video(page, [(x, y)])
    square = np.zeros(SIZE, bool)
    square[int(py - 5) : int(py + 5), int(px - 5) : int(px + 5)] = True
    shown = np.reshape(hatched(page), SIZE)
    assert shown.any()
    assert not (shown & ~square).any()
    assert corrected.corrections(0).revision == 0
    page.mouse.click(x, y + 100, button="right")  # beside it: takes nothing here away, but is asked about
    proposed(page)
    press(page, "Enter")
    kept(page)
    square[:, int(px) :] = False
    np.testing.assert_array_equal(mask_of(corrected), square)
    np.testing.assert_array_equal(on_canvas(page), square)
    assert corrected.corrections(0).kind(0, 0) == "draw"
    press(page, "Control+z")
    expect(page.locator("#redo")).to_be_enabled()
    np.testing.assert_array_equal(mask_of(corrected), before)


def test_a_box_is_dragged_and_escape_drops_the_answer(clicked, corrected):
    page, before, (x, y) = clicked, mask_of(corrected), middle(clicked)
    stroke(page, [(x - 90, y - 50), (x + 20, y + 10), (x + 60, y + 40)])
    proposed(page)
    assert np.any(hatched(page))
    press(page, "Escape")
    expect(page.locator("#clicked")).to_be_empty()
    np.testing.assert_array_equal(on_canvas(page), before)
    assert not np.any(hatched(page))
    stroke(page, [(x - 90, y - 50), (x + 60, y + 40)])
    proposed(page)
    press(page, "ArrowRight")  # another frame: the answer was about this one
    ready(page, 1)
    assert not np.any(hatched(page))
    press(page, "ArrowLeft")
    ready(page, 0)
    stroke(page, [(x - 90, y - 50), (x + 60, y + 40)])
    proposed(page)
    press(page, "Enter")
    kept(page)
    (left, top), (right, bottom) = in_video(page, [(x - 90, y - 50), (x + 60, y + 40)])
    expected = np.zeros(SIZE, bool)
    expected[int(top) : int(bottom), int(left) : int(right)] = True
    np.testing.assert_array_equal(mask_of(corrected), expected)


def test_a_click_beside_the_object_alone_is_not_asked_about(clicked, corrected):
    clicked.mouse.click(*middle(clicked), button="right")
    expect(clicked.locator("#clicked")).to_have_text("click at the object, too")
    press(clicked, "Escape")
    expect(clicked.locator("#clicked")).to_be_empty()


def test_without_weights_for_clicks_the_page_says_which_to_fetch(corrected, served, open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path))
    with Clicks(corrected, ()) as clicks, served(corrected, clicks=clicks) as address:
        clicks.problem = lacking_weights()  # whether the program is there or not
        page = open_page(address)
        press(page, "c")
        expect(page.locator("#note")).to_contain_text("fusion-core weights fetch sam2.1-tiny")
        expect(page.get_by_role("button", name="Look")).to_have_attribute("aria-pressed", "true")
        page.context.close()


def test_without_a_propagator_the_page_says_why(corrected, served, open_page):
    with (
        Propagation(corrected, (), {"x": ("no-such-program",)}) as propagation,
        served(corrected, propagation) as address,
    ):
        page = open_page(address)
        expect(page.locator("#job")).to_contain_text("no program 'no-such-program'")
        assert page.locator("#carry-on").is_disabled()
        page.context.close()


def test_a_run_is_saved(page, corrected, runs):
    press(page, "b")
    stroke(page, [middle(page)])
    kept(page)
    press(page, "Control+s")
    expect(page.locator("#saved")).to_contain_text("saved as")
    np.testing.assert_array_equal(
        MaskRun.open(runs / "corrected").read("world00").tracks[0].mask(0), mask_of(corrected)
    )


@pytest.mark.parametrize("whose", ["mine", "theirs"])
def test_two_tabs_on_one_frame(address, open_page, corrected, whose):
    one, other = open_page(address), open_page(address)
    before, (x, y) = mask_of(corrected), middle(one)
    for page in (one, other):
        press(page, "b")
    stroke(one, [(x - 100, y)])
    kept(one)
    theirs = mask_of(corrected)
    stroke(other, [(x + 100, y)])
    expect(other.locator("#conflict")).to_be_visible()
    np.testing.assert_array_equal(mask_of(corrected), theirs)
    other.get_by_role("button", name="Keep mine" if whose == "mine" else "Take theirs").click()
    kept(other)
    mine = swept(before, in_video(other, [(x + 100, y)]), 20)
    expected = mine if whose == "mine" else theirs
    np.testing.assert_array_equal(mask_of(corrected), expected)
    np.testing.assert_array_equal(on_canvas(other), expected)


def test_strokes_wait_for_a_server_that_is_gone(page, corrected):
    x, y = middle(page)
    before = mask_of(corrected)
    page.context.set_offline(True)
    press(page, "b")
    for dx in (-100, 0, 100):
        stroke(page, [(x + dx, y)])
    expect(page.locator("#saved")).to_contain_text("the server does not answer; 3 waiting")
    assert corrected.corrections(0).revision == 0
    page.context.set_offline(False)
    kept(page)
    points = in_video(page, [(x + dx, y) for dx in (-100, 0, 100)])
    for point in points:
        before = swept(before, [point], 20)
    np.testing.assert_array_equal(mask_of(corrected), before)
    assert corrected.corrections(0).revision == 3


def test_masks_travel_without_loss(page):
    """The page reads and writes run-length strings as this project does."""
    rng = np.random.default_rng(3)
    shapes = [(1, 1), (1, 9), (9, 1), (33, 65), (64, 48), (200, 3)]
    masks = [rng.random(shape) < share for shape in shapes for share in (0, 0.05, 0.5, 1)]
    masks.append(np.repeat(np.repeat(rng.random((7, 9)) < 0.5, 40, axis=0), 50, axis=1))
    sent = [[encode_mask(mask).decode(), *mask.shape] for mask in masks]
    back = page.evaluate(
        """async (sent) => {
            const { decodeMask, encodeMask } = await import("/assets/run_lengths.js");
            return sent.map(([string, height, width]) => {
                const mask = decodeMask(string, width, height);
                return [Array.from(mask), encodeMask(mask, width, height)];
            });
        }""",
        sent,
    )
    for mask, (string, *_), (pixels, again) in zip(masks, sent, back, strict=True):
        np.testing.assert_array_equal(np.reshape(pixels, mask.shape), mask)
        assert again == string


@pytest.mark.parametrize("pen", ["pen", "touch"])
def test_pen_and_finger_draw(page, corrected, pen):
    before, (x, y) = mask_of(corrected), middle(page)
    press(page, "b")
    points = [(x - 40, y), (x + 40, y + 25)]
    page.evaluate(
        """([points, kind]) => {
            const box = document.getElementById("stage");
            box.setPointerCapture = () => {};
            const fire = (type, [clientX, clientY]) => box.dispatchEvent(new PointerEvent(type,
                { pointerId: 7, pointerType: kind, clientX, clientY, button: 0, isPrimary: true, bubbles: true }));
            fire("pointerdown", points[0]);
            fire("pointermove", points[1]);
            fire("pointerup", points[1]);
        }""",
        [points, pen],
    )
    kept(page)
    np.testing.assert_array_equal(mask_of(corrected), swept(before, in_video(page, points), 20))


def test_every_control_has_a_name(page):
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, [role=button]")].filter((element) =>
            !(element.labels?.length || element.getAttribute("aria-label") || element.textContent.trim()))
            .map((element) => element.outerHTML)"""
    )
    assert unnamed == []
    tools = page.get_by_role("toolbar", name="Tools")
    tools.get_by_role("button", name="Brush").focus()
    press(page, "Enter")
    expect(tools.get_by_role("button", name="Brush")).to_have_attribute("aria-pressed", "true")


def test_few_requests_a_step(address, open_page):
    """A step in the ring asks for one more frame at most; masks come in blocks."""
    page = open_page(address)
    press(page, "End")
    ready(page, 5)
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda one: "/api/videos/" in one.url and asked.append(one.url))
    for frame in (4, 3, 2, 1, 0):
        press(page, "ArrowLeft")
        ready(page, frame)
    assert asked == []


def test_frames_of_a_video_file_are_exact(open_page, served, tmp_path):
    """Every frame has a brightness of its own; the file has B-frames, so packets are not in their order."""
    path, frames = tmp_path / "clip.mp4", 30
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "12", "bf": "3", "crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            picture = np.full((48, 64, 3), 8 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    dataset = open_video(path, ["a thing"])
    run = MaskRun.create(
        tmp_path / "runs" / "x", RunManifest(producer="x", producer_version="1", dataset=dataset.identity)
    )
    track = MaskTrack.from_masks(dataset.videos["clip"].expressions[0], np.ones((frames, 48, 64), bool))
    names = tuple(f"{i:05d}" for i in range(frames))
    run.write(VideoMasks(video="clip", size=(48, 64), frame_names=names, tracks=(track,)))
    library = Library(dataset=open_video(path), runs=open_runs(tmp_path / "runs"), folder=tmp_path / "runs")
    brightness = """() => {
        const copy = new OffscreenCanvas(1, 1).getContext("2d");
        copy.drawImage(document.getElementById("picture"), 0, 0);
        return copy.getImageData(0, 0, 1, 1).data[0];
    }"""
    with CorrectedRun(library) as corrected, served(corrected) as address:
        page = open_page(address)
        steps = ["ArrowRight"] * 3 + ["Shift+ArrowRight", "End", "ArrowLeft", "Shift+ArrowLeft", "Home", ".", ","]
        for key, frame in zip(steps, (1, 2, 3, 13, 29, 28, 18, 0, 1, 0), strict=True):
            press(page, key)
            ready(page, frame)
            assert abs(page.evaluate(brightness) - 8 * frame) <= 3
            expect(page.locator("#where")).to_contain_text(f"frame {frame:05d} ({frame + 1} of 30)")
        page.context.close()


HOSTILE = """<!doctype html><title>waiting</title><img id="img"><iframe src="TARGET/"></iframe>
<form id="form" method="post" enctype="text/plain" target="nowhere" action="TARGET/api/videos/0/undo">
<input name="a"></form><iframe name="nowhere"></iframe><script>
const tried = {};
const settle = (name) => (value) => { tried[name] = String(value); };
(async () => {
    const headers = { "content-type": "application/json" };
    const change = { method: "POST", credentials: "include", headers, body: "{}" };
    for (const [name, path, options] of [
        ["read", "/api/session", { credentials: "include" }],
        ["blind", "/api/videos/0/undo", { ...change, mode: "no-cors" }],
        ["change", "/api/videos/0/undo", change],
        ["put", "/api/videos/0/edits/0/0", { ...change, method: "PUT" }],
    ]) {
        const told = fetch("TARGET" + path, options).then((r) => (r.type === "opaque" ? "opaque" : r.status));
        await told.catch(() => "refused").then(settle(name));
    }
    await new Promise((resolve) => {
        img.onload = () => resolve(settle("img")("loaded"));
        img.onerror = () => resolve(settle("img")("refused"));
        img.src = "TARGET/api/videos/0/frames/0.jpg";
    });
    await new Promise((resolve) => {
        const events = new EventSource("TARGET/api/session", { withCredentials: true });
        events.onerror = () => { settle("events")("refused"); events.close(); resolve(); };
        events.onmessage = () => resolve(settle("events")("heard"));
    });
    form.submit();
    await new Promise((resolve) => setTimeout(resolve, 300));
    document.title = JSON.stringify(tried);
})();
</script>"""


class _Hostile(BaseHTTPRequestHandler):
    def __init__(self, page, *arguments):
        self.page = page
        super().__init__(*arguments)

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_):
        pass


def test_a_page_on_another_port_gets_nothing(browser, address, corrected):
    """In the same browser, which holds the cookie and sends it to every port of this machine."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    ready(page)
    press(page, "b")
    stroke(page, [middle(page)])
    kept(page)
    revision = corrected.corrections(0).revision
    hostile = HOSTILE.replace("TARGET", address.split("/?")[0]).encode()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hostile, hostile)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        other = context.new_page()
        statuses = []
        other.on("response", lambda one: address.split("/?")[0] in one.url and statuses.append((one.url, one.status)))
        other.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        other.wait_for_function("document.title !== 'waiting'")
        tried = other.evaluate("JSON.parse(document.title)")
        server.shutdown()
    context.close()
    assert tried == dict.fromkeys(("read", "blind", "change", "put", "img", "events"), "refused")
    assert {status for _, status in statuses} <= {403, 415}
    assert corrected.corrections(0).revision == revision
