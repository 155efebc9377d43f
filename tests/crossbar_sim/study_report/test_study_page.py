"""The page of a study: its structure, its table, its charts, and pages of unusual studies."""

import html
import re
from pathlib import Path

import pytest
from made_studies import BASE, accuracies, made_study
from pages import Outline

from crossbar_sim.config.study import Range, Sample
from crossbar_sim.study_report.charts import MAX_LINES
from crossbar_sim.study_report.drawn import design_chart, trade_off_chart
from crossbar_sim.study_report.found import Found
from crossbar_sim.study_report.study_page import chosen, draw, page_numbers, write_study_page


def text_of(path: Path) -> str:
    """Return the words of a page, without its scripts, styles and charts."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"<(script|style|svg).*?</\1>", "", text, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]*>", " ", text)).replace("\u00a0", " ")
    return re.sub(r"\s+", " ", text)


def test_the_page_is_one_whole_file(page):
    outline = Outline(page.read_text(encoding="utf-8"))
    assert (outline.wrong, outline.open) == ([], [])
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(ids) == len(set(ids)) > 20
    links = [str(a["href"]) for a in outline.of("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert len(outline.of("table")) == len(outline.of("caption")) > 5
    assert all("scope" in head for head in outline.of("th"))
    assert not [link for link in links if link.startswith("http")]


def test_it_says_how_it_was_computed(page):
    text = text_of(page)
    assert "Computed by crossbar-sim study made.toml --output made" in text
    assert re.search(r"Made \d{4}-\d\d-\d\d \d\d:\d\d UTC with python ", text)
    assert "computing time of the trials 72 s" in text
    assert re.findall(r"\d(?:\.\d+)?e[+-]?\d+", text.partition("to copy")[0]) == []


def test_the_table_has_every_point_with_its_numbers(found):
    rows = page_numbers(found)["points"]
    assert [row["number"] for row in rows] == list(range(1, 9))
    for row, summary in zip(rows, found.summaries, strict=True):
        mean = summary.metric("accuracy")
        cell = row["metrics"][0]
        assert cell["value"] == mean.value
        assert cell["text"] == f"{100 * mean.value:.1f} %"
        assert cell["bounds"] == f"{100 * mean.low:.1f} … {100 * mean.high:.1f} %"
        assert (row["dies"], row["trainings"], row["failed"]) == (6, 1, 0)
        assert row["yield"]["value"] == summary.yield_.value
    best = [row for row in rows if row["best"]]
    assert [row["number"] for row in best] == [found.best + 1]
    assert best[0]["difference"] == {"text": "–", "value": None}
    assert rows[0]["difference"]["value"] == found.pairs.mean[found.best, 0] < -0.05


def test_the_best_its_equals_and_the_front_have_single_runs(found, searched):
    first, *rest = chosen(found)
    assert first == found.best
    assert set(found.equals) <= set(rest)
    assert chosen(searched)[: len(searched.front)] == searched.front


def test_charts_have_names_units_and_whole_numbers(found):
    chart = design_chart(found, "accuracy", "in small print")
    (axes,) = chart.axes
    assert chart.get_suptitle() == "Test accuracy: mean of 6 dies, 95 % intervals"
    assert chart.get_supxlabel() == "in small print"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("branches per bank", "test accuracy")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "3", "4"]
    assert axes.yaxis.get_major_formatter()(0.925, 0) == "92.5 %"
    assert sorted(t.get_text() for t in axes.texts) == ["aware", "error", "selection objective:"]
    energy = design_chart(found, "energy").axes[0].yaxis.get_major_formatter()
    assert energy(2e-8, 0).replace("\u00a0", " ") == "20 nJ"


def test_labels_of_lines_do_not_lie_on_each_other(found):
    (axes,) = design_chart(found, "mvm_error").axes
    heights = sorted(text.xyann[1] for text in axes.texts if text.arrow_patch)
    assert len(heights) == 2
    assert heights[1] - heights[0] > 0.07


def test_the_front_is_joined_and_numbered(found, searched):
    for each in (found, searched):
        (axes,) = trade_off_chart(each).axes
        numbers = sorted(int(text.get_text()) for text in axes.texts)
        assert numbers == sorted(k + 1 for k in each.front)
    labels = trade_off_chart(searched).legends[0].get_texts()
    assert [text.get_text() for text in labels] == [
        "over budget",
        *(["beaten"] if len(searched.front) < len(searched.allowed) else []),
        "beaten by none in both",
    ]


def test_a_study_without_a_cost_has_no_such_chart(tmp_path):
    def free(point, rng):
        found = accuracies(point, rng)
        return {key: found[key] for key in ("accuracy", "agreement", "n_test")}

    found = Found(made_study(tmp_path, free, grid={"bank.n": [1, 2]}), ("accuracy",))
    assert list(draw(found)) == ["design-accuracy"]
    with pytest.raises(ValueError, match=r"no metric of this study is a cost; draw one metric"):
        trade_off_chart(found)


def failing(point, rng):
    return None if point.get("bank.n") == 2 else accuracies(point, rng)


SQUARE = "tile.n_word, tile.n_bit"
DRIVERS = {"wires.r_driver": Range(low=1, high=1000, log=True)}
UNUSUAL = {
    "one point": {},
    "one die": {"dies": 1, "grid": {"bank.n": [1, 3]}},
    "failed trials": {"made": failing, "grid": {"bank.n": [1, 2, 3]}},
    "no result": {"made": lambda _point, _rng: None, "grid": {"bank.n": [1, 3]}},
    "words along x": {"grid": {"select.objective": ["error", "aware"], "bank.n": [2, 3]}},
    "numbers and none": {"grid": {"periphery.adc_bits": [6, "none"]}},
    "two keys and panels": {"grid": {SQUARE: [16, 32], "bank.n": [1, 2]}, "panel": [SQUARE]},
    "many lines": {"grid": {"bank.n": [1, 2], SQUARE: list(range(8, 8 + MAX_LINES + 2))}},
    "a sample": {"sample": Sample(n=12, range=DRIVERS), "grid": {"bank.n": [2, 4]}},
    "variants": {"variants": {"<b>&": {"bank.n": 2}, "as it is": {}}, "x": "variant"},
    "formulas along x": {"variants": {r"$\foo$": {"bank.n": 2}, "a": {}}, "x": "variant"},
    "formulas as lines": {"variants": {r"$\foo$": {}, "a": {}}, "grid": {"bank.n": [2, 3]}},
    "formulas as panels": {
        "variants": {r"$\foo$": {}, "a": {}},
        "grid": {"bank.n": [2, 3]},
        "panel": ["variant"],
    },
    "a network given in Python": {"base": BASE.model_copy(update={"name": "own"})},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_any_study_has_a_page(name, tmp_path):
    keys = dict(UNUSUAL[name])
    study = made_study(tmp_path, keys.pop("made", accuracies), **keys)
    found = Found(study, ("accuracy", "mvm_error", "energy"))
    path = write_study_page(found, tmp_path / "a" / "x.html", "crossbar-sim study x.toml")
    outline = Outline(path.read_text(encoding="utf-8"))
    assert (outline.wrong, outline.open) == ([], [])
    text = text_of(path)
    assert text.count("What was asked") == 1
    assert ("Failed trials" in text) == bool(study.failures)
    assert ("All points" in text) == bool(found.summaries)
    assert "<b>&" not in path.read_text(encoding="utf-8")
    missing = [k for k in study.config.grid if f"<code>{k}</code>" not in path.read_text("utf-8")]
    assert missing == []
