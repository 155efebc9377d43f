"""The report as a reader meets it: in Chromium, wide and narrow, dark and light, by keys alone."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any, finished: Path) -> Iterator[Any]:
    """The report, wide and light; at the end, nothing has been asked for and nothing has failed."""
    opened = browser.new_page(viewport={"width": 1300, "height": 900}, color_scheme="light")
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"file://{finished}/report.html")
    yield opened
    opened.close()
    assert said == []
    far = [url for url in asked if not url.startswith(("data:", "blob:", "file:"))]
    assert far == []


@pytest.mark.parametrize("width", [400, 1300])
def test_the_page_is_never_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_click_on_its_head_sorts_a_table(page):
    table = page.locator("#costs-table")
    errors = "rows => rows.map((row) => Number(row.cells[1].dataset.v))"
    head = table.locator("th", has_text="error of the outputs")
    for order in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        found = table.locator("tbody tr").evaluate_all(errors)
        assert len(found) > 3
        assert found == sorted(found, reverse=order == "descending")
    table.locator("th", has_text="lost").locator("button").press("Enter")
    assert head.get_attribute("aria-sort") is None


def test_a_table_is_downloaded_as_csv(page, finished):
    with page.expect_download() as waited:
        page.locator("#costs-table caption button").click()
    head, *rows = csv.reader(Path(waited.value.path()).read_text(encoding="utf-8").splitlines())
    numbers = json.loads((finished / "report.json").read_text())
    assert head[:2] == ["alone", "error of the outputs"]
    assert head[4] == "against ideal wires, amplifiers, converters, lost"
    assert [float(row[1]) for row in rows] == [row["error"] for row in numbers["costs"]]


def facts(page: Any) -> dict[str, str]:
    """Return what the page says of the chosen cell."""
    words = page.locator("#cell-facts > *").all_inner_texts()
    return dict(zip(words[::2], words[1::2]))


def test_a_cell_tells_its_numbers_to_the_pointer_and_to_the_keys(page):
    cells = page.locator("#tile-grid rect")
    assert cells.count() == 64
    first = facts(page)
    cells.nth(9).hover()
    assert facts(page)["word line (input)"].startswith("1 ")
    assert facts(page)["bit line (output)"].startswith("1 ")
    page.locator("#tile-grid").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    moved = facts(page)
    assert (moved["word line (input)"][0], moved["bit line (output)"][0]) == ("2", "2")
    page.keyboard.press("Home")
    assert facts(page) == first
    filled = page.locator("#cell-switches .closed").count()
    closed = [first[f"{bank} bank, closed"] for bank in ("positive", "negative")]
    assert filled == sum(text != "none" and text.count(",") + 1 for text in closed)


def test_another_layer_and_tile_are_chosen(page, finished):
    layers = page.locator("#tile-layer option").all_inner_texts()
    assert len(layers) == 2
    page.select_option("#tile-layer", index=1)
    names = page.locator("#tile-name option").all_inner_texts()
    told = json.loads((finished / "report.json").read_text())["verification"]["tiles"]
    assert names == [row["tile"] for row in told if row["tile"].startswith(layers[1])]
    before = facts(page)
    page.select_option("#tile-name", index=1)
    assert facts(page)["word line (input)"] != before["word line (input)"]
    page.select_option("#tile-colour", "weight")
    assert "Deepest blue" in page.locator("#tile-legend").inner_text()


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_colours_follow_the_scheme(page, scheme, bright):
    page.emulate_media(color_scheme=scheme)
    of = "(each) => getComputedStyle(each)"
    paper = page.locator("body").evaluate(f"({of})(document.body).backgroundColor")
    ink = page.locator(".chart text").first.evaluate(f"(each) => ({of})(each).fill")
    sums = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
    assert (sums[0] > 600, sums[1] > 600) == (bright, not bright)


def test_paper_shows_what_is_folded_and_stays_white(page):
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("body").evaluate("(b) => getComputedStyle(b).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert page.locator("dl.glossary").is_visible()
    assert not page.locator("nav").is_visible()
    assert not page.locator("#defaults-table").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.words").get_attribute("open") is None


def test_it_can_be_read_without_its_script(browser, finished):
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(f"file://{finished}/report.html")
    assert plain.locator(".statement").count() == 4
    assert plain.locator("noscript figure").is_visible()
    assert not plain.locator("#tile-view").is_visible()
    plain.context.close()
