"""The report in a real browser: what is seen, keys, mouse, and nothing but the file."""

import os
import re
import shutil

import numpy as np
import pytest
from fusion_core.report.page import write_report
from mask_interchange import MaskRun, open_dataset
from rvos_evaluation.annotations import open_annotations

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
expect = playwright.expect
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH, and CHROMIUM does not name one")

# Mask pixels of a canvas: those that differ from the same canvas without colour.
DIFFERENT = """async (selector) => {
    const pixels = () => {
        const canvas = document.querySelector(selector), { width, height } = canvas;
        const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        return copy.getImageData(0, 0, width, height).data;
    };
    const coloured = pixels();
    $("strength").value = 0;
    const edge = TINT.splice(0, 3, 0, 0, 0);
    await draw();
    const plain = pixels();
    TINT.splice(0, 3, ...edge);
    $("strength").value = 0.55;
    await draw();
    const found = [];
    for (let p = 0; p < coloured.length / 4; p++) {
        found.push([0, 1, 2].some((c) => coloured[4 * p + c] !== plain[4 * p + c]));
    }
    return found;
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # In a container there is often no user but root, for whom Chromium has no sandbox.
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    annotations = open_annotations(world.annotations)
    write_report(world.recipe, world.runs, open_dataset(world.dataset), out, annotations=annotations, limit=5_000_000)
    return out


@pytest.fixture
def page(browser, report):
    """The opened report; afterwards it must not have complained of anything or asked for another file."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    ready(page)
    yield page
    page.wait_for_timeout(500)
    assert complaints == []
    assert requests == [report.as_uri()]
    page.close()


def ready(page):
    expect(page.locator("#where")).to_contain_text("of 6")


def current(page):
    return page.locator("#entries [aria-current=true]")


def test_opens_at_the_worst_disagreement(page, world):
    shown = page.locator("#entries button .number").all_text_contents()
    values = [float(text.split("·")[0]) for text in shown]
    assert values == sorted(values, reverse=True)
    assert len(values) > 6
    assert page.locator("#entries button").first.get_attribute("aria-current") == "true"
    assert page.locator("#layer").input_value() == "final"
    assert page.title() == "small on dataset"


def test_expressions_are_shown_as_they_are(page, world):
    page.get_by_label("Find").fill("script")
    page.locator("#entries button").click()
    expect(page.locator("#expression")).to_have_text(world.evil)
    assert page.title() == "small on dataset"


def test_keys_move_through_frames_expressions_and_runs(page):
    expect(page.locator("#where")).to_contain_text("(1 of 6)")
    for key, place in (("ArrowRight", 2), ("Shift+ArrowRight", 6), ("ArrowLeft", 5), ("Home", 1), ("End", 6)):
        page.keyboard.press(key)
        expect(page.locator("#where")).to_contain_text(f"({place} of 6)")
    page.keyboard.press("j")
    expect(page.locator("#entries button").nth(1)).to_have_attribute("aria-current", "true")
    page.keyboard.press("k")
    expect(page.locator("#entries button").first).to_have_attribute("aria-current", "true")
    page.keyboard.press("]")
    assert page.locator("#layer").input_value() == "ground truth"  # round the end
    page.keyboard.press("[")
    assert page.locator("#layer").input_value() == "final"
    page.keyboard.press("g")
    expect(page.locator("#caption")).to_contain_text("key frame")
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    expect(page.locator("#where")).to_contain_text("(3 of 6)")
    page.keyboard.press(" ")
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_keys_typed_into_a_field_stay_there(page):
    first = current(page).text_content()
    page.keyboard.press("/")
    page.keyboard.type("jk h")
    assert page.get_by_label("Find").input_value() == "jk h"
    assert page.locator("#entries button").count() == 0
    page.get_by_label("Find").fill("")
    assert page.locator("#entries button").count() > 6
    assert current(page).text_content() == first


def test_every_control_has_a_name_and_can_be_reached_by_key(page):
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, [role=button]")].filter((element) =>
            !(element.labels?.length || element.ariaLabel || element.getAttribute("aria-label")
              || element.textContent.trim())).map((element) => element.outerHTML)"""
    )
    assert unnamed == []
    page.locator("svg .node[data-run=a]").focus()
    page.keyboard.press("Enter")
    assert page.locator("#layer").input_value() == "a"
    assert "chosen" in page.locator("svg .node[data-run=a]").get_attribute("class")
    current(page).focus()
    page.keyboard.press("ArrowDown")
    assert current(page).evaluate("button => button === document.activeElement")


def test_mouse_chooses_tiles_nodes_and_frames(page):
    page.locator(".tile[data-layer=b]").click()
    assert page.locator("#layer").input_value() == "b"
    page.locator("svg .node[data-run=first]").click()
    assert page.locator(".tile[data-layer=first]").get_attribute("aria-pressed") == "true"
    strip = page.locator("#strip")
    box = strip.bounding_box()
    strip.click(position={"x": box["width"] * 0.99, "y": 5})
    expect(page.locator("#where")).to_contain_text("(6 of 6)")
    page.locator("#previous").click()
    expect(page.locator("#where")).to_contain_text("(5 of 6)")
    page.get_by_label("Sort by").select_option("order")
    expect(page.locator("#entries .name").first).to_have_text("world00 / 0")  # the list is laid out a moment later
    assert page.locator("svg .node.missing").get_attribute("data-run") == "b_aot"


def test_the_colour_lies_where_the_mask_is(page, world):
    page.get_by_label("Sort by").select_option("order")
    page.locator("#entries button").first.click()
    page.keyboard.press("End")
    expect(page.locator("#where")).to_contain_text("(6 of 6)")
    for run in ("a", "final"):
        page.locator(f".tile[data-layer={run}]").click()
        found = np.reshape(page.evaluate(DIFFERENT, "#big"), (90, 160))
        track = MaskRun.open(world.runs / run).read("world00").tracks[0]
        np.testing.assert_array_equal(found, track.mask(5))


def test_heat_map_shows_votes_and_the_rule(page):
    page.keyboard.press("h")
    assert page.get_by_label("votes as heat map").is_checked()
    assert page.locator("#legend span").count() == 6
    expect(page.locator("#legend .needed")).to_have_text("3")
    page.locator(".tile[data-layer=a]").click()
    expect(page.locator("#legend span")).to_have_count(0)
    assert not page.get_by_label("votes as heat map").is_visible()


def test_the_address_leads_back_to_the_place(page, browser, report):
    page.keyboard.press("j")
    page.keyboard.press("End")
    expect(page).to_have_url(re.compile("/00025$"))
    other = browser.new_page()
    other.goto(page.url)
    ready(other)
    assert current(other).text_content() == current(page).text_content()
    expect(other.locator("#where")).to_contain_text("(6 of 6)")
    other.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(browser, report, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(report.as_uri())
    ready(page)
    ratios = page.evaluate(
        """() => {
            const style = getComputedStyle(document.documentElement), canvas = document.createElement("canvas");
            const context = canvas.getContext("2d");
            const luminance = (name) => {
                context.fillStyle = style.getPropertyValue(name);
                context.fillRect(0, 0, 1, 1);
                const linear = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) =>
                    value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
                return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
            };
            const pairs = [["--on-accent", "--accent"], ["--warn", "--warn-ground"]];
            for (const text of ["--text", "--soft", "--predict", "--vote", "--propagate"]) {
                pairs.push([text, "--ground"], [text, "--raised"]);
            }
            return Object.fromEntries(pairs.map(([one, other]) => {
                const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
                return [`${one} on ${other}`, (light + 0.05) / (dark + 0.05)];
            }));
        }"""
    )
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}  # WCAG 2.2, level AA
    page.close()


def test_a_damaged_block_is_said_in_the_page(browser, report, tmp_path):
    text = report.read_text()
    at = text.index('"masks":"', text.index('id="video-0"')) + len('"masks":"')
    damaged = tmp_path / "damaged.html"
    damaged.write_text(text[:at] + "AAAA" + text[at + 4 :])
    page = browser.new_page()
    page.goto(damaged.as_uri() + "#world00/0")
    page.wait_for_selector("#failure:not([hidden])")
    expect(page.locator("#failure")).to_contain_text("world00 cannot be shown")
    page.close()
