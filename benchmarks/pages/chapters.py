"""docs/results: a page for each chapter of results, and a page that lists them."""

from collections.abc import Callable

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

NOTE = (
    "Written by `benchmarks/pages/readme.py` from the kept outputs of the scripts in `benchmarks/`."
)


def _examples() -> list[str]:
    return [
        circuits.demo(),
        circuits.physics(),
        "## Assumptions of the energy comparison",
        energy.sensitivity(),
    ]


def _networks() -> list[str]:
    return [
        *measured(networks.resnet18, "resnet18"),
        *measured(networks.minilm, "minilm"),
        networks.others(),
        *measured(networks.forward, "forward"),
        *measured(networks.lightning, "lightning"),
        *measured(networks.saved, "saved"),
        *measured(published_chips.section, "published_chips"),
    ]


def _circuits() -> list[str]:
    return [
        engine.circuits(),
        engine.transfer(),
        engine.derivatives(),
        engine.nonlinear(),
        engine.certified(),
        golden.golden(),
        studies.speed(),
    ]


def _selection() -> list[str]:
    return [
        circuits.selection(),
        circuits.law(),
        circuits.bits(),
        circuits.published(),
        circuits.aware(),
        circuits.proved(),
        studies.calibration(),
    ]


def _studies() -> list[str]:
    return [
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
    ]


def _checks() -> list[str]:
    return [
        *measured(checks.faults, "faults"),
        *measured(checks.blows, "blows"),
        *measured(checks.fuzz, "fuzz"),
        *measured(checks.selftest, "selftest"),
    ]


#: Name of a page: its title, what it answers, and the function that returns its sections.
CHAPTERS: dict[str, tuple[str, str, Callable[[], list[str]]]] = {
    "examples": (
        "The two examples",
        "What accuracy and energy come out of `make demo`, and what do the energies assume?",
        _examples,
    ),
    "networks": (
        "Networks of others",
        "How do ResNet-18, MobileNetV2, a sentence transformer and published chips fare?",
        _networks,
    ),
    "circuits": (
        "Circuits",
        "How fast and how exact are the solvers, beside ngspice and other simulators?",
        _circuits,
    ),
    "selection": (
        "Selection of switches",
        "How precise is a bank of n resistors, and how fast are its switches chosen?",
        _selection,
    ),
    "studies": (
        "Studies",
        "What do branches, scatter, wires, converters, joules, age and training do to accuracy?",
        _studies,
    ),
    "pruning": (
        "Pruning",
        "Which method leaves the fewest weights, tiles and bits?",
        pruning.sections,
    ),
    "fabrication": (
        "Fabrication",
        "What do masks, packs, measured wafers and a foundry's devices cost and change?",
        fabrication.sections,
    ),
    "checks": (
        "Checks",
        "What happened under random circuits, bad files, faults and kills?",
        _checks,
    ),
}


def pages() -> dict[str, str]:
    """Return every page of docs/results by file name."""
    found = {"index.md": _index(), "laws.md": laws.page()}
    for name, (title, question, sections) in CHAPTERS.items():
        text = "\n\n".join([f"# {title}", question, NOTE, *sections()]) + "\n"
        found[f"{name}.md"] = text.replace("](benchmarks/", "](../../benchmarks/")
    return found


def _index() -> str:
    rows = [
        f"- [{title}]({name}.md): {question}" for name, (title, question, _) in CHAPTERS.items()
    ]
    rows.append(
        "- [The laws of imprecise resistors](laws.md): Which theorems hold at real sizes, and with which constants?"
    )
    return "\n".join(["# Results", "", NOTE, "", *rows, ""])
