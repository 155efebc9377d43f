"""A study's page as a reader meets it: in Chromium, wide and narrow, dark and on paper."""

import csv
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import CHROMIUM, launched, opened

from crossbar_sim.study_report.study_page import write_study_page

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as running:
        yield running


@pytest.fixture
def shown(browser: Any, page: Path) -> Iterator[Any]:
    with opened(browser, page) as tab:
        yield tab


def assert_fits(tab: Any, width: int) -> None:
    """Assert that a page with everything unfolded is no wider than its window."""
    tab.set_viewport_size({"width": width, "height": 900})
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [400, 1300])
def test_the_page_is_never_wider_than_the_window(shown, width):
    assert_fits(shown, width)


@pytest.mark.parametrize("width", [400, 1300])
def test_so_is_the_page_of_a_search(browser, searched, tmp_path, width):
    path = write_study_page(searched, tmp_path / "search.html", "crossbar-sim study x.toml")
    with opened(browser, path) as tab:
        assert_fits(tab, width)


def test_points_are_sorted_by_their_means(shown, found):
    table = shown.locator("#points-table")
    table.locator("th", has_text="MVM error").locator("button").click()
    rows = table.locator("tbody tr")
    means = rows.evaluate_all("rows => rows.map((row) => Number(row.cells[4].dataset.v))")
    wanted = sorted(found.mean(k, "mvm_error") for k in range(8))
    assert means == wanted


def test_points_are_downloaded_as_csv(shown, found):
    with shown.expect_download() as waited:
        shown.locator("#points-table caption button").click()
    head, *rows = csv.reader(Path(waited.value.path()).read_text(encoding="utf-8").splitlines())
    assert head[:4] == ["point", "branches per bank", "selection objective", "test accuracy"]
    assert [float(row[3]) for row in rows] == [found.mean(k, "accuracy") for k in range(8)]


def test_a_single_run_is_downloaded_even_without_the_script(browser, page, found):
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(f"file://{page}")
    assert tab.locator(".statement").count() == 4
    with tab.expect_download() as waited:
        tab.locator("a[download]").first.click()
    assert waited.value.suggested_filename == f"made-point{found.number(found.best)}.toml"
    read = tomllib.loads(Path(waited.value.path()).read_text(encoding="utf-8"))
    assert read["bank"]["n"] == found.points[found.best]["bank.n"]
    tab.context.close()


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_charts_follow_the_scheme(shown, scheme, bright):
    shown.emulate_media(color_scheme=scheme)
    ink = shown.locator(".chart text").first.evaluate("(each) => getComputedStyle(each).fill")
    assert (sum(map(int, ink[4:-1].split(","))) > 600) == (not bright)
    assert shown.locator(".chart svg").count() == 4


def test_paper_is_white_and_leaves_out_what_is_to_be_copied(shown):
    shown.emulate_media(media="print", color_scheme="dark")
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    paper = shown.locator("body").evaluate("(b) => getComputedStyle(b).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    assert shown.locator("dl.glossary").is_visible()
    assert not shown.locator("pre").first.is_visible()
