"""Write the results in README.md, docs/results.md and docs/laws.md from kept outputs of benchmarks.

Run: python -m benchmarks.pages.readme     (a test checks that the pages are up to date)
"""

from pathlib import Path

from benchmarks.common import ROOT
from benchmarks.pages import (
    checks,
    circuits,
    energy,
    engine,
    fabrication,
    golden,
    laws,
    networks,
    pruning,
    published_chips,
    studies,
)
from benchmarks.pages.tables import measured

START, END = "<!-- results: made by benchmarks/pages/readme.py -->", "<!-- end of results -->"


def main() -> None:
    """Replace the block between the marks in README.md, and the whole of docs/results.md and docs/laws.md."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(START)
    replace(readme, f"{before}{block()}{rest.split(END)[1]}")
    replace(ROOT / "docs" / "results.md", page())
    replace(ROOT / "docs" / "laws.md", laws.page())


def block() -> str:
    """Return the results for the README, between their marks."""
    parts = [
        circuits.demo(),
        engine.circuits(),
        circuits.selection(),
        studies.parts(),
        *measured(studies.branches, "study_branches"),
        *measured(studies.joules, "study_joules"),
        "All results, with their settings: [docs/results.md](docs/results.md).",
    ]
    return "\n\n".join([START, "## Results", *parts, END])


def page() -> str:
    """Return all results, with picture paths relative to docs/."""
    chapters = {
        "The examples": [circuits.demo(), circuits.physics()],
        "Networks of others": [
            *measured(networks.resnet18, "resnet18"),
            *measured(networks.minilm, "minilm"),
            networks.others(),
            *measured(networks.forward, "forward"),
            *measured(networks.saved, "saved"),
            *measured(published_chips.section, "published_chips"),
        ],
        "Assumptions of the energy comparison": [energy.sensitivity()],
        "Circuits": [
            engine.circuits(),
            engine.transfer(),
            engine.derivatives(),
            engine.nonlinear(),
            engine.certified(),
            golden.golden(),
            studies.speed(),
        ],
        "Selection": [
            circuits.selection(),
            circuits.law(),
            circuits.bits(),
            circuits.published(),
            circuits.aware(),
            circuits.proved(),
            studies.calibration(),
        ],
        "Studies": [
            studies.parts(),
            studies.coverage(),
            *measured(studies.branches, "study_branches"),
            *measured(studies.scatter, "study_scatter"),
            *measured(studies.wires, "study_wires"),
            *measured(studies.converters, "study_converters"),
            *measured(studies.joules, "study_joules"),
            *measured(studies.design, "study_design"),
            *studies.life(),
            studies.tuning(),
            *measured(studies.through_wires, "through_wires"),
        ],
        "Pruning": pruning.sections(),
        "Fabrication": fabrication.sections(),
        "Checks": [
            *measured(checks.faults, "faults"),
            *measured(checks.blows, "blows"),
            *measured(checks.fuzz, "fuzz"),
            *measured(checks.selftest, "selftest"),
        ],
    }
    head = "# Results\n\nWritten by `benchmarks/pages/readme.py` from the kept outputs of the scripts in `benchmarks/`."
    parts = [head]
    for title, sections in chapters.items():
        parts += [f"## {title}", *sections]
    text = "\n\n".join(parts) + "\n"
    return text.replace("](benchmarks/", "](../benchmarks/").replace("](docs/", "](")


def replace(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    draft = path.with_suffix(".tmp")
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    main()
