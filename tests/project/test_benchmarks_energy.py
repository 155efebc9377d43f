"""What the energy benchmarks compute, on tables made here."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from approx import approx
from benchmarks.energy import adc_survey, sensitivity
from benchmarks.energy.accelerators import ACCELERATORS

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
HEAD = ["YEAR", "fsnyq [Hz]", "SNDR_plot [dB]", "P/fsnyq [pJ]"]
ROWS = {
    "ISSCC": [[2015, 1e6, 49.92, 5.0], [2011, 1e9, 49.92, 1.0], [2020, 9e5, 49.92, 1.0]],
    "VLSI": [[2024, 2e6, 37.88, 3.0], [2024, 2e6, None, 3.0]],
}


def sheet(rows: list[list[float | None]]) -> str:
    lines = ["".join(f'<c r="{"ABCD"[k]}1" t="s"><v>{k}</v></c>' for k in range(4))]
    lines += [
        "".join(
            f'<c r="{"ABCD"[k]}{n}"><v>{value}</v></c>'
            for k, value in enumerate(row)
            if value is not None
        )
        for n, row in enumerate(rows, 2)
    ]
    return f"<worksheet {MAIN}>" + "".join(f"<row>{x}</row>" for x in lines) + "</worksheet>"


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    names = "".join(f'<sheet name="{n}" r:id="r{k}"/>' for k, n in enumerate(ROWS))
    links = "".join(f'<R Id="r{k}" Target="worksheets/s{k}.xml"/>' for k in range(2))
    parts = {
        "workbook.xml": f'<workbook {MAIN} xmlns:r="{LINKS}"><sheets>{names}</sheets></workbook>',
        "_rels/workbook.xml.rels": f"<Rs>{links}</Rs>",
        "sharedStrings.xml": f"<sst {MAIN}>"
        + "".join(f"<si><t>{h}</t></si>" for h in HEAD)
        + "</sst>",
        "worksheets/s0.xml": sheet(ROWS["ISSCC"]),
        "worksheets/s1.xml": sheet(ROWS["VLSI"]),
    }
    with zipfile.ZipFile(tmp_path / "survey.xlsx", "w") as book:
        for name, text in parts.items():
            book.writestr(f"xl/{name}", text)
    return tmp_path / "survey.xlsx"


def test_only_fast_and_late_designs_with_all_figures_count(survey):
    # 49.92 dB are 8 effective bits, 37.88 dB are 6.
    found = adc_survey.designs(survey)
    assert found == approx(np.array([[8.0, 5.0], [6.0, 3.0]]))


def test_a_quantile_has_the_interval_of_order_statistics():
    found = adc_survey.quantile(np.arange(1.0, 102.0), 0.5)
    assert found["factor"] == 51
    # Of 101 draws the 41st and the 61st enclose the median with 95 %.
    assert found["low"] == approx(41, abs=1)
    assert found["high"] == approx(61, abs=1)


def test_a_balance_and_whom_a_change_flatters():
    base = sensitivity.Balance({"ADC": 3.0, "TIA stage": 1.0}, {"arithmetic": 2.0})
    assert base.ratio == approx(0.5)
    assert base.on_die(ADC=1 / 3, TIA_stage=0.0).ratio == approx(2.0)
    assert base.with_digital(fetch=6.0).ratio == approx(2.0)
    assert sensitivity.flatters(0.5, 2.0) == "digital", "as it was made, against the die"
    assert sensitivity.flatters(0.5, 0.4) == "die"
    assert sensitivity.flatters(0.5, 0.5) == "neither"


def test_products_reach_the_operations_per_joule_published_of_them():
    per_joule = {a.name.split(" (")[0]: a.per_joule for a in ACCELERATORS}
    assert per_joule["IBM HERMES"] == approx(9.76e12)
    assert per_joule["Mythic M1076"] == approx(26e12 / 4)
    assert per_joule["IBM Spyre"] == approx(4e12)
    assert per_joule["Intel NCS2"] is None, "no power was read"
    for product in ACCELERATORS:
        assert 1e12 <= product.operations <= 1e15, "peak, in operations per second"
