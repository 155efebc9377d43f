"""Energy of one conversion, from B. Murmann's ADC Performance Survey, over the envelope of designs.

The envelope of all designs is 0.267 pJ + 1.446e-7 pJ * 4^ENOB per conversion. This is his rule: the
mean of the three best designs in each regime. Each design takes more energy by some factor at its
own ENOB. The quantiles of that factor over all designs give one smooth law in bits, which
`crossbar_sim.energy.power` uses. By band of ENOB the median factor is 13 to 75, so the law is a
convention, not a fit.

Designs since 2012 with at least 1 MS/s count. Their energy is P / f_Nyquist; their ENOB comes from
the SNDR of his plots. Intervals of quantiles are exact (binomial), 95 %.

The table is not in this repository: https://github.com/bmurmann/ADC-survey,
xls/ADCsurvey_latest.xlsx
Run: python -m benchmarks.energy.adc_survey ADCsurvey_latest.xlsx
"""

import re
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.common import print_table, save_json
from crossbar_sim.energy.power import ADC_FACTORS, adc_envelope

YEAR, RATE = 2012, 1e6
QUANTILES = {"lower quartile": 0.25, "median": 0.5, "upper quartile": 0.75}
BANDS = ((0, 20), (4, 6), (6, 8), (8, 10), (10, 12), (12, 20))
SHEETS = ("ISSCC", "VLSI")
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def sheet_rows(path: Path, name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a sheet of an .xlsx file, with the first row as keys."""
    with zipfile.ZipFile(path) as book:
        part = {k: ET.fromstring(book.read(f"xl/{k}.xml")) for k in ("workbook", "sharedStrings")}
        links = ET.fromstring(book.read("xl/_rels/workbook.xml.rels"))
        target = {link.get("Id"): link.get("Target") for link in links}
        sheet = {
            s.get("name"): target[s.get(_LINK)] for s in part["workbook"].iter(f"{_MAIN}sheet")
        }
        page = ET.fromstring(book.read(f"xl/{sheet[name]}"))
    texts = ["".join(t.text or "" for t in si.iter(f"{_MAIN}t")) for si in part["sharedStrings"]]
    head: dict[str, str] = {}
    for row in page.iter(f"{_MAIN}row"):
        cells = {}
        for cell in row:
            value = cell.findtext(f"{_MAIN}v")
            if value is not None:
                column = re.sub(r"\d", "", cell.get("r") or "")
                cells[column] = texts[int(value)] if cell.get("t") == "s" else value
        if head:
            yield {head[column]: value for column, value in cells.items() if column in head}
        else:
            head = cells


def designs(path: Path) -> np.ndarray:
    """Return ENOB and energy per conversion [pJ] of the designs that count, (n, 2)."""
    counted = []
    for sheet in SHEETS:
        for row in sheet_rows(path, sheet):
            try:
                year, rate = float(row["YEAR"]), float(row["fsnyq [Hz]"])
                enob, energy = (
                    (float(row["SNDR_plot [dB]"]) - 1.76) / 6.02,
                    float(row["P/fsnyq [pJ]"]),
                )
            except (KeyError, ValueError):  # not stated for this design
                continue
            if year >= YEAR and rate >= RATE:
                counted.append((enob, energy))
    return np.array(counted)


def quantile(ratio: np.ndarray, level: float) -> dict[str, float]:
    """Return a quantile with its interval."""
    value = float(np.quantile(ratio, level))
    around = stats.quantile_test(ratio, q=value, p=level).confidence_interval(0.95)
    return {"factor": value, "low": float(around.low), "high": float(around.high)}


def band(enob: np.ndarray, ratio: np.ndarray, low: float, high: float) -> dict[str, Any]:
    """Return the factors of the designs in a band of ENOB."""
    here = ratio[(enob >= low) & (enob < high)]
    factors = {name: quantile(here, level) for name, level in QUANTILES.items()}
    return {"enob": [low, high], "n_design": len(here), "least": float(here.min())} | factors


def levels(row: dict[str, Any]) -> list[dict[str, float]]:
    """Return the quantiles of a band."""
    return [row[name] for name in QUANTILES]


def shown(factor: dict[str, float]) -> str:
    """Return a quantile and its interval as text."""
    return "{factor:.3g} [{low:.3g}, {high:.3g}]".format(**factor)


def main() -> None:
    """Read, print and keep."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m benchmarks.energy.adc_survey ADCsurvey_latest.xlsx")
    enob, energy = designs(Path(sys.argv[1])).T
    ratio = energy * 1e-12 / np.array([adc_envelope(bits) for bits in enob])
    rows = [band(enob, ratio, low, high) for low, high in BANDS]
    print_table(
        "energy of a conversion over the envelope at its ENOB",
        ["ENOB", "designs", "least", *QUANTILES],
        [[str(r["enob"]), r["n_design"], r["least"], *map(shown, levels(r))] for r in rows],
    )
    correlation = stats.spearmanr(enob, ratio)
    save_json(
        "adc_survey",
        {
            "source": "B. Murmann, ADC Performance Survey 1997-2025 (bmurmann/ADC-survey)",
            "since": YEAR,
            "least_rate_hz": RATE,
            "rank_correlation_with_enob": [float(correlation.statistic), float(correlation.pvalue)],
            "bands": rows,
            "used": ADC_FACTORS,
        },
    )


if __name__ == "__main__":
    main()
