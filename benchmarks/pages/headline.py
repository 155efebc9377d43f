"""The three bullets of the README, each with one measured number, and the plot beside its drawing."""

import io
import re

from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.pages.tables import load

#: Meters of the plot: colour, label and its height.
_METERS = {
    "perfect": ("#3182ce", "perfect meter", 11.9),
    "0.1 %": ("#dd6b20", "meter of 0.1 %", 8.6),
}
_TEXT = "#123456"  # stands for the colour of text until the picture is written
_STYLE = "<style>svg{color:#24292f}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>"


def bullets() -> str:
    """Return the bullets as Markdown."""
    example = load("demo")["examples"]["digits"]["shipped"]
    peer = next(row for row in load("circuits")["badcrossbar"] if row["n"] == 256)
    ratio = example["digital_over_analog"]["7 nm int8"]["nonzero_ratio"]
    return (
        f"- **Exact.** Wires, drivers, amplifiers and converters are solved as circuits; the engine agrees with ngspice to "
        f"{example['engine_against_ngspice']:.0e} on the worst tile of the example, and its currents carry proofs.\n"
        f"- **Fast.** A 256 × 256 array with wires is solved {peer['ratio']:.0f} × faster than by badcrossbar, in the same run.\n"
        f"- **Honest.** Against us first: the example's die takes {1 / ratio:.0f} × the energy of 7 nm 8-bit "
        "arithmetic, converters included."
    )


def plot() -> str:
    """Return the bits of a weight against the resistors of its pair of banks, as SVG that follows a dark page."""
    kept = {
        (row["meter"], row["scatter"], row["band"]): row
        for row in load("bits_per_resistor")["pairs"]
    }
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "headline", "font.size": 11}):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for meter, (colour, note, height) in _METERS.items():
            row = kept[meter, 0.05, "± 0.95 of a side"]
            n = [2 * side for side in row["n_per_side"]]
            axes.plot(n, row["rms"], color=colour, marker="o", ms=4)
            axes.annotate(note, (n[-1], height), color=_TEXT, ha="right", va="center")
        axes.plot((4, 18), (4, 18), color=_TEXT, ls=":")
        axes.annotate("one bit per resistor", (11, 11.8), color=_TEXT, ha="right")
        axes.set(
            xlabel="imprecise resistors of a weight",
            ylabel="bits of the full scale",
            ylim=(0, 18),
            yticks=range(0, 19, 3),
            xticks=range(4, 21, 4),
        )
        axes.set_title("Precision from 5 % resistors, rms", fontsize=11, color=_TEXT)
        axes.tick_params(colors=_TEXT)
        axes.xaxis.label.set_color(_TEXT)
        axes.yaxis.label.set_color(_TEXT)
        for side, spine in axes.spines.items():
            spine.set(color=_TEXT, visible=side in ("left", "bottom"))
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = re.sub(r"^.*?<svg ", "<svg ", buffer.getvalue(), flags=re.DOTALL).replace(
        _TEXT, "currentColor"
    )
    return text.replace("<defs>", f"{_STYLE}\n <defs>", 1)
