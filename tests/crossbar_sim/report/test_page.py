"""The page itself: its structure, its colours, its charts and what it embeds."""

import json
import re
from itertools import product
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from pages import Outline

from crossbar_sim.report import run_plots as plots
from crossbar_sim.report.page import embedded, unbroken
from crossbar_sim.report.run_plots import STYLE, VARIABLES, svg

STYLES = Path(plots.__file__).parent / "templates" / "style.html.j2"
TEXT, GRAPHICS = 4.5, 3.0


@pytest.fixture(scope="module")
def outline(finished: Path) -> Outline:
    return Outline((finished / "report.html").read_text())


def test_every_element_is_closed_and_every_id_is_there_once(outline):
    assert (outline.wrong, outline.open) == ([], [])
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(ids) == len(set(ids)) > 50
    links = [str(a["href"]) for a in outline.of("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    named = [str(a["aria-labelledby"]) for _, a in outline.tags if "aria-labelledby" in a]
    assert set(named) <= set(ids)


def test_there_are_landmarks_a_language_and_a_way_past_the_contents(outline):
    assert outline.of("html") == [{"lang": "en"}]
    for landmark in ("header", "nav", "main", "footer"):
        assert len(outline.of(landmark)) == 1
    assert outline.of("a")[0] == {"class": "skip", "href": "#content"}


def test_every_table_has_a_caption_and_every_head_a_scope(outline):
    tables = outline.of("table")
    assert len(tables) == len(outline.of("caption")) > 10
    assert all("scope" in head for head in outline.of("th"))


def test_numbers_have_no_e_notation_outside_of_data(finished):
    text = (finished / "report.html").read_text()
    text = re.sub(r"<(script|style|svg).*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", text)
    assert "accuracy" in text
    assert re.findall(r"\d(?:\.\d+)?e[+-]?\d+", text) == []


def colours(text: str) -> dict[str, tuple[float, ...]]:
    """Return the colours of a block of variables, as linear red, green and blue."""
    found = re.findall(r"--(\w+): #(\w{6})", text)
    split = {name: [int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)] for name, code in found}
    return {
        name: tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
        for name, rgb in split.items()
    }


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the ratio of luminances. Source: WCAG 2.1, "contrast ratio"."""
    weights = (0.2126, 0.7152, 0.0722)
    first, second = (sum(w * c for w, c in zip(weights, rgb)) + 0.05 for rgb in (a, b))
    return max(first, second) / min(first, second)


THEMES = dict(
    zip(("light", "dark", "print"), re.findall(r":root \{.*?\}", STYLES.read_text(), re.DOTALL))
)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_colours_have_the_contrast_that_wcag_asks_for(theme):
    known = colours(THEMES[theme])
    least = dict.fromkeys(("ink", "soft", "blue", "bad", "good"), TEXT)
    least |= dict.fromkeys(("sky", "orange", "grey"), GRAPHICS)
    weak = [
        (name, ground)
        for name, ground in product(least, ("paper", "panel"))
        if contrast(known[name], known[ground]) < least[name]
    ]
    assert weak == []


def test_colours_of_plots_are_those_of_the_light_page():
    codes = dict(re.findall(r"--(\w+): (#\w{6})", THEMES["light"]))
    for colour, variable in VARIABLES.items():
        if variable != "--ink":  # black, where nobody asks for a colour
            assert codes[variable.removeprefix("--")] == colour


def test_a_chart_takes_the_colours_of_its_page_and_is_the_same_each_time():
    with matplotlib.rc_context(STYLE):
        first, second = (svg(plots.energy_parts({"ADC": 2e-9, "DAC": 1e-9}), "a") for _ in range(2))
    assert first == second
    assert "var(--orange)" in first
    assert re.findall(r"#[0-9a-f]{6}|DejaVu|<metadata|http", first) == []
    assert ">ADC</text>" in first
    assert all(name.startswith("a-") for name in re.findall(r'\bid="([^"]*)"', first))


def test_what_is_embedded_cannot_end_its_script():
    text = embedded({"name": "</script><b>", "value": 1.5})
    assert "<" not in text
    assert json.loads(text) == {"name": "</script><b>", "value": 1.5}


def test_numbers_stay_with_their_units():
    said = unbroken("95 %: 89.6 … 94.6 %, p = 0.5, 2 × 10, 33 nJ, 7 bits")
    assert said.replace("\u00a0", "_") == "95_%: 89.6_…_94.6_%, p_=_0.5, 2_×_10, 33_nJ, 7 bits"


def test_cells_without_devices_stay_empty():
    values = np.array([[1.0, np.nan], [0.5, 2.0]])
    (image,) = plots.cells(values, "t", "l").axes[0].images
    np.testing.assert_array_equal(np.ma.getmaskarray(image.get_array()), np.isnan(values))


def test_a_layer_may_be_named_like_a_formula():
    drawn = svg(plots.selection_errors({r"a$\foo$b": np.linspace(1e-4, 1e-3, 9)}), "errors")
    assert r"a$\foo$b" in drawn
    tile = svg(plots.cells(np.eye(3), r"of a$\foo$b", "S", "S"), "tile")
    assert r"of a$\foo$b" in tile
