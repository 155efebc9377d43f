"""Decks that ask a foundry's models what its devices conduct."""

from collections.abc import Sequence

import numpy as np

from netlists.foundry.branch import FoundryBranch
from netlists.foundry.cards import rails, resistor_card, switch_cards
from netlists.foundry.models import Models
from netlists.spice.text import table_source

#: Steps of Newton's method become so small that results hold far better; with limits much lower,
#: compiled models do not converge, for their own currents are only so smooth.
OPTIONS = ".options klu pivrel=0.5 reltol=1e-7 abstol=1e-13 vntol=1e-8 gmin=1e-15"
#: Volts across each device whose mismatch or temperature is asked for, and degrees Celsius.
V_SMALL, CELSIUS = 0.05, (-40.0, 125.0, 33.0)


def curves_deck(branch: FoundryBranch, models: Models, points: np.ndarray) -> str:
    """Return a deck of each resistor, and of a closed and an open switch, at given voltages.

    points: (n_point, 3) [V]: across every resistor, and at both ends of the switches.

    Columns: current through each resistor, current into the first end of the closed switch, out of
    its second end, and the same two of the open one [A].
    """
    lines = rails(branch)
    for name, volts in zip(("r", "a", "b"), points.T.tolist()):
        lines.append(table_source(f"b{name}", name, volts))
    saved = []
    for k, length in enumerate(branch.lengths):
        lines += [resistor_card(branch, f"r{k}", ("r", f"r{k}"), length=length), f"vr{k} r{k} 0 0"]
        saved.append(f"i(vr{k})")
    for state in ("on", "off"):
        ends = (f"{state}_a", f"{state}_b")
        lines += switch_cards(branch, state, ends, closed=state == "on")
        lines += [f"v{state}a a {ends[0]} 0", f"v{state}b {ends[1]} b 0"]
        saved += [f"i(v{state}a)", f"i(v{state}b)"]
    lines.append("vsel sel 0 0")
    return deck(branch, models, lines, f"dc vsel 0 {len(points) - 1} 1", saved)


def mismatch_deck(branch: FoundryBranch, models: Models, copies: tuple[int, int], seed: int) -> str:
    """Return a deck of copies of each resistor, and of a closed switch, that differ by mismatch.

    copies: of each resistor, and of the switch, which ngspice takes far longer to read.

    Columns: current at V_SMALL through all copies of the first resistor, and so on; the switches
    last.
    """
    lines, saved = [*rails(branch), f"vsmall a 0 {V_SMALL}"], []
    for k in range(len(branch.lengths) + 1):
        for copy in range(copies[k == len(branch.lengths)]):
            ends, name = ("a", f"n{k}_{copy}"), f"x{k}_{copy}"
            if k < len(branch.lengths):
                lines.append(resistor_card(branch, name, ends, length=branch.lengths[k]))
            else:
                lines += switch_cards(branch, name, ends, closed=True)
            lines.append(f"v{k}_{copy} n{k}_{copy} 0 0")
            saved.append(f"i(v{k}_{copy})")
    lines.append(f".option seed={seed}")
    sweep = f"dc vsmall {V_SMALL} {V_SMALL} 1"
    return deck(branch, models, lines, sweep, saved, mismatch=True)


def temperature_deck(branch: FoundryBranch, models: Models) -> str:
    """Return a deck of each resistor at V_SMALL over CELSIUS. Columns: the currents."""
    lines, saved = [*rails(branch), f"vsmall a 0 {V_SMALL}"], []
    for k, length in enumerate(branch.lengths):
        lines += [resistor_card(branch, f"r{k}", ("a", f"r{k}"), length=length), f"vr{k} r{k} 0 0"]
        saved.append(f"i(vr{k})")
    low, high, step = CELSIUS
    return deck(branch, models, lines, f"dc temp {low:g} {high:g} {step:g}", saved)


def multiples_deck(branch: FoundryBranch, models: Models, multiples: np.ndarray) -> str:
    """Return a deck of each resistor with each multiplicity, at V_SMALL.

    multiples: (n_multiple,). Columns: all currents through the first resistor, and so on.
    """
    lines, saved = [*rails(branch), f"vsmall a 0 {V_SMALL}"], []
    for k, length in enumerate(branch.lengths):
        for j, m in enumerate(multiples.tolist()):
            lines.append(resistor_card(branch, f"r{k}_{j}", ("a", f"r{k}_{j}"), length=length, m=m))
            lines.append(f"vr{k}_{j} r{k}_{j} 0 0")
            saved.append(f"i(vr{k}_{j})")
    return deck(branch, models, lines, f"dc vsmall {V_SMALL} {V_SMALL} 1", saved)


def deck(
    branch: FoundryBranch,
    models: Models,
    lines: Sequence[str],
    sweep: str,
    saved: Sequence[str],
    *,
    mismatch: bool = False,
) -> str:
    """Return a deck that reads the models of the branch's corner and writes a sweep's results.

    lines: its elements.
    sweep: the command of the analysis.
    saved: names of what is written, a column each.
    """
    cards = models.cards(branch.corner, mismatch=mismatch)
    cards += [OPTIONS, f".temp {branch.temperature - 273.15!r}", *lines]
    control = [*models.commands, "set wr_singlescale", "set numdgt=15", sweep]
    control.append(f"wrdata out.txt {' '.join(saved)}")
    return "\n".join(
        ["* foundry devices", *cards, ".control", *control, "quit", ".endc", ".end", ""]
    )
