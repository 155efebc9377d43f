"""The law of the subset-sum resistor: bits of precision against the number of branches."""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mapping.bank import ResistorBank
from mapping.selection.precision import PrecisionCurve, draw_from, precision_curve, useful_branches
from tinynets.files.outputs import csv_text, write_beside

#: Statistics of a curve, with their labels in plots.
STATISTICS = {
    "mean": "mean error of all targets and banks",
    "median": "worst target, median bank",
    "p999": "worst target, 99.9th percentile of banks",
    "worst": "worst target, worst bank",
}


@dataclass(frozen=True)
class Law:
    """A precision curve with the bank it was measured on.

    bank: specification; the curve varies its n.
    differential: whether pairs of banks were drawn.
    band: least and largest target, as fractions of the full scale.
    seed: of the banks drawn.
    curve: bits by number of branches.
    useful: number of branches up to which each adds at least half a bit with the bank's meter
        error; None for a perfect meter.
    """

    bank: ResistorBank
    differential: bool
    band: tuple[float, float]
    seed: int
    curve: PrecisionCurve
    useful: int | None


def measure_law(
    bank: ResistorBank,
    n: list[int],
    *,
    differential: bool = False,
    n_instance: int = 2500,
    band: tuple[float, float] = (0.25, 0.75),
    seed: int = 0,
) -> Law:
    """Measure bits against branches for banks of a specification.

    bank: the specification, whose n is replaced.
    n: numbers of branches.
    differential: whether to draw pairs of banks.
    n_instance: number of banks drawn for each n.
    band: least and largest target, as fractions of the full scale.
    seed: of the banks drawn.

    Raises ValueError as `mapping.selection.precision.precision_curve` does.
    """
    draw = draw_from(lambda count: replace(bank, n=count), differential=differential)
    curve = precision_curve(draw, n, n_instance=n_instance, band=band, seed=seed)
    useful = useful_branches(draw, bank.meter_error, seed=seed) if bank.meter_error else None
    return Law(bank, differential, band, seed, curve, useful)


def to_csv(law: Law) -> str:
    """Return the curve as CSV text, one line per number of branches; bounds may be -inf."""
    return csv_text(law.curve.rows(), digits=6)


def describe(law: Law) -> str:
    """Return one line that describes the bank, the band and the sample."""
    bank = law.bank
    ladder = bank.ladder if isinstance(bank.ladder, str) else "list of ohms"
    ladder = f"geometric {bank.ratio:g}" if ladder == "geometric" else ladder
    kind = "differential pair" if law.differential else "single bank"
    return (
        f"{kind}, ladder {ladder}, {bank.distribution} scatter {np.max(bank.sigma_local):.3g}, "
        f"targets {law.band[0]:g} … {law.band[1]:g} of full scale, "
        f"{law.curve.n_instance} banks, seed {law.seed}"
    )


def draw_law(law: Law) -> Figure:
    """Return the plot of bits against branches, with confidence bounds and fitted slopes."""
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for name, label in STATISTICS.items():
        estimate = getattr(law.curve, name)
        if len(law.curve.n) >= 3:
            label = f"{label} ({law.curve.slope(name)[0]:.2f} bits per branch)"
        (line,) = axes.plot(law.curve.n, estimate.bits, "o-", ms=4, label=label)
        bounded = np.isfinite(estimate.low)
        axes.fill_between(
            law.curve.n,
            np.where(bounded, estimate.low, estimate.bits),
            estimate.high,
            color=line.get_color(),
            alpha=0.2,
        )
    axes.set(xlabel="branches per bank", ylabel="bits of full scale, −log2(2 error / FS)")
    axes.set_title(describe(law), fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return figure


def save_law(law: Law, stem: Path) -> list[Path]:
    """Write STEM.csv, STEM.png and STEM.svg; return their paths."""
    figure, contents = draw_law(law), {".csv": to_csv(law).encode()}
    for kind in ("png", "svg"):
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, dpi=140)
        contents[f".{kind}"] = picture.getvalue()
    return write_beside(stem, contents)
