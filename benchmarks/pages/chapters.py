"""docs/results: a page for each chapter of results, and a page that lists them."""

from collections.abc import Callable
from dataclasses import dataclass

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

#: Heading of a section, the function that returns its text, and the outputs that may be missing.
Section = tuple[str, Callable[[], str], *tuple[str, ...]]


@dataclass(frozen=True)
class Chapter:
    """A page: its title, the question that it answers, and its sections."""

    title: str
    question: str
    sections: tuple[Section, ...]


CHAPTERS = {
    "examples": Chapter(
        "The two examples",
        "What accuracy and energy come out of `make demo`, and what do the energies assume?",
        (
            ("Accuracy and energy", circuits.demo),
            ("Each non-ideality alone", circuits.physics),
            ("Assumptions of the energy comparison", energy.sensitivity),
        ),
    ),
    "networks": Chapter(
        "Networks of others",
        "How do ResNet-18, MobileNetV2, a sentence transformer and published chips fare?",
        (
            ("ResNet-18 with exact wires", networks.resnet18, "resnet18"),
            ("A sentence transformer", networks.minilm, "minilm"),
            ("Networks that packages ship", networks.others),
            ("Time and memory of a pass", networks.forward, "forward"),
            ("Beside aihwkit-lightning", networks.lightning, "lightning"),
            ("Saved networks", networks.saved, "saved"),
            ("Published chips", published_chips.section, "published_chips"),
        ),
    ),
    "circuits": Chapter(
        "Circuits",
        "How fast and how exact are the solvers, beside ngspice and other simulators?",
        (
            ("Beside ngspice and other simulators", engine.circuits),
            ("Transfer matrices", engine.transfer),
            ("Derivatives", engine.derivatives),
            ("Nonlinear arrays", engine.nonlinear),
            ("Certified currents", engine.certified),
            ("The golden set", golden.golden),
            ("Networks and studies", studies.speed),
        ),
    ),
    "selection": Chapter(
        "Selection of switches",
        "How precise is a bank of n resistors, and how fast are its switches chosen?",
        (
            ("Exact subset sums", circuits.selection),
            ("The law of precision", circuits.law),
            ("Bits per resistor", circuits.bits),
            ("Published experiments", circuits.published),
            ("Aware of inputs", circuits.aware),
            ("Proved selections", circuits.proved),
            ("Against the wires", studies.calibration),
        ),
    ),
    "studies": Chapter(
        "Studies",
        "What do branches, scatter, wires, converters, joules, age and training do to accuracy?",
        (
            ("What is modelled", studies.parts),
            ("How good the intervals are", studies.coverage),
            ("Branches", studies.branches, "study_branches"),
            ("Scatter", studies.scatter, "study_scatter"),
            ("Wires", studies.wires, "study_wires"),
            ("Converters", studies.converters, "study_converters"),
            ("Joules", studies.joules, "study_joules"),
            ("A search for designs", studies.design, "study_design"),
            ("Age", studies.age, "study_life"),
            ("Failed switches", studies.failures, "study_failures"),
            ("Heat", studies.heat, "study_corners"),
            ("Recovered by software", studies.tuning),
            ("Trained through the wires", studies.through_wires, "through_wires"),
        ),
    ),
    "pruning": Chapter(
        "Pruning",
        "Which method leaves the fewest weights, tiles and bits?",
        (
            ("Families of compression", pruning.baselines, "baselines"),
            ("Lottery tickets", pruning.lottery),
            ("Trained scores", pruning.edge_popup),
            ("Strong lottery tickets", pruning.strong_lottery),
            ("FlyHash", pruning.flyhash),
            ("Tiles", pruning.compaction, "compaction"),
            ("Speed", pruning.pruning_speed),
        ),
    ),
    "fabrication": Chapter(
        "Fabrication",
        "What do masks, packs, measured wafers and a foundry's devices cost and change?",
        (
            ("Packs and measured tables", fabrication.pack),
            ("Reading several branches at once", fabrication.measurement),
            ("Masks", fabrication.layout),
            ("Devices of foundries", fabrication.foundry, "foundry_devices"),
            ("Curves or straight lines", fabrication.curves, "study_foundry_curves"),
            (
                "Corners and temperatures",
                fabrication.corners,
                "study_foundry_corners",
                "study_foundry_corners_ihp",
            ),
        ),
    ),
    "checks": Chapter(
        "Checks",
        "What happened under random circuits, bad files, faults and kills?",
        (
            ("Faults at every touch", checks.faults, "faults"),
            ("Kills", checks.blows, "blows"),
            ("Changed files", checks.fuzz, "fuzz"),
            ("Random circuits", checks.selftest, "selftest"),
            ("ngspice in a browser", checks.browser, "ngspice_in_browser"),
        ),
    ),
}


def pages() -> dict[str, str]:
    """Return every page of docs/results by file name."""
    made = {f"{name}.md": _page(chapter) for name, chapter in CHAPTERS.items()}
    return {"index.md": _index(), "laws.md": laws.page()} | made


def _page(chapter: Chapter) -> str:
    parts = [f"# {chapter.title}", chapter.question, NOTE]
    for heading, section, *outputs in chapter.sections:
        parts += [f"## {heading}", *measured(section, *outputs)]
    return ("\n\n".join(parts) + "\n").replace("](benchmarks/", "](../../benchmarks/")


def _index() -> str:
    rows = [f"- [{c.title}]({name}.md): {c.question}" for name, c in CHAPTERS.items()]
    rows.append(
        "- [The laws of imprecise resistors](laws.md): Which theorems hold at real sizes, and with which constants?"
    )
    return "\n".join(["# Results", "", NOTE, "", *rows, ""])
