"""Write a circuit as flat SPICE text, with exactly the numbers that the fast engine solves."""

from collections.abc import Sequence

import numpy as np
from scipy.constants import Boltzmann

from mapping.bank.checks import T_REFERENCE
from netlists.circuit import Circuit, Periphery
from netlists.circuit.names import checked_names
from tinynets.files.outputs import one_line

#: Largest number of vectors in one sweep; at each point ngspice searches the table of each input.
MAX_VECTORS = 4096

#: KLU's default pivot tolerance of 1e-3 loses up to eight digits next to controlled sources.
OPTIONS = ".options klu pivrel=0.5"
#: By its own tolerances ngspice takes an amplifier that just reaches its swing for one that does
#: not, a thousandth off. Linear circuits need none: rounding may be more than these.
_CLIPPED = "reltol=1e-9 vntol=1e-9"


def options(periphery: Periphery) -> str:
    """Return the options of a circuit with these amplifiers."""
    return OPTIONS if np.isinf(periphery.v_swing) else f"{OPTIONS} {_CLIPPED}"


def to_spice(circuit: Circuit, v_in: np.ndarray, *, title: str = "crossbar") -> str:
    """Return a netlist that stock ngspice sweeps over all input vectors.

    circuit: any circuit.
    v_in: input vectors (n_batch, n_word) or (n_word,) [V].
    title: the first line of the netlist.

    Each input is a table over a sweep index: one `.dc` analysis solves every vector, and the
    circuit is parsed and ordered once. The current into TIA j, counted in output order, is
    `i(vtia_<j>)`; its output voltage is `v(out_<j>)`.
    """
    v_in = circuit.check_inputs(v_in)
    if len(v_in) > MAX_VECTORS:
        raise ValueError(f"a netlist takes at most {MAX_VECTORS} vectors; got {len(v_in)}")
    names = circuit.names[0]
    inputs = [names[k] for k in circuit.elements.input_nodes]
    body = [*elements(circuit), "vsel sel 0 0", *input_tables(inputs, v_in)]
    saved = " ".join(f"i(vtia_{j}) v(out_{j})" for j in range(circuit.n_line))
    cards = [
        options(circuit.periphery),
        f".dc vsel 0 {len(v_in) - 1} 1",
        f".save {saved}",
        ".end",
        "",
    ]
    return "\n".join([f"* {one_line(title)}", *body, *cards])


def elements(circuit: Circuit, *, noise: bool = False) -> list[str]:
    """Return the element lines of a circuit: resistors, then ammeters and TIAs.

    noise: include the noise of the amplifiers; see `tia`.

    Raises ValueError for unsafe names.
    """
    parts = circuit.elements
    nodes, names = checked_names(circuit)
    tail, head = parts.branch_from.tolist(), parts.branch_to.tolist()
    lines = [
        f"{name} {nodes[a]} {nodes[b]} {ohm!r}"
        for name, a, b, ohm in zip(names, tail, head, parts.branch_ohm.tolist())
    ]
    offsets = circuit.periphery.offsets(circuit.n_line).tolist()
    for j, (node, v_offset) in enumerate(zip(parts.tia_nodes.tolist(), offsets)):
        lines += tia(f"{j}", nodes[node], f"out_{j}", circuit.periphery, v_offset, noise=noise)
    return lines


def tia(
    label: str,
    node: str,
    out: str,
    periphery: Periphery,
    v_offset: float = 0.0,
    *,
    noise: bool = False,
) -> list[str]:
    """Return an ammeter `vtia_<label>` from a bit line into a TIA, and the TIA.

    node: node at the end of the bit line.
    out: output node of the TIA.
    v_offset: offset voltage of this amplifier [V].
    noise: include the noise of the amplifier, for a `.noise` analysis.
    """
    entry, lines = f"sum_{label}", []
    noisy = noise and bool(periphery.v_noise)
    raw = f"raw_{label}" if np.isfinite(periphery.v_swing) else out
    if np.isinf(periphery.tia_gain) and np.isinf(periphery.gbw) and not noisy:
        lines += _ideal(label, node, raw, periphery, v_offset)
    else:
        lines.append(f"vtia_{label} {node} {f'in_{entry}' if periphery.r_input else entry} 0")
        if periphery.r_input:
            lines.append(f"rin_{label} in_{entry} {entry} {float(periphery.r_input)!r}")
        lines += _amplifier(label, entry, raw, periphery, float(v_offset), noisy)
    if raw != out:
        swing = float(periphery.v_swing)
        lines.append(f"bswing_{label} {out} 0 v = max({-swing!r}, min({swing!r}, v({raw})))")
    return lines


def _ideal(label: str, node: str, out: str, periphery: Periphery, v_offset: float) -> list[str]:
    """Return an ideal amplifier: one source holds its input and measures, another is its output.

    Two sources in series would be equivalent but make KLU's ordering ten times worse.
    """
    lines, held = [], node
    if periphery.r_input:
        held = f"sum_{label}"
        lines.append(f"rin_{label} {node} {held} {float(periphery.r_input)!r}")
    ohm = float(periphery.r_feedback)
    lines.append(f"vtia_{label} {held} 0 {float(v_offset) or 0!r}")
    return [*lines, f"hout_{label} {out} {held} vtia_{label} {-ohm!r}"]


def _amplifier(
    label: str, entry: str, out: str, periphery: Periphery, v_offset: float, noisy: bool
) -> list[str]:
    """Return the feedback resistor and the amplifier, with its pole if its bandwidth is finite."""
    reference, lines = _reference(label, periphery, v_offset) if noisy else ("0", [])
    v_offset = 0.0 if noisy else v_offset
    gain = float(periphery.tia_gain)
    lines.append(f"rfb_{label} {entry} {out} {float(periphery.r_feedback)!r}")
    if np.isfinite(periphery.gbw):
        # The integrator of the amplifier: 1 S into C = 1 / (2 pi gbw), in parallel with R = gain.
        pole = f"pole_{label}"
        lines.append(f"gamp_{label} 0 {pole} {reference} {entry} 1.0")
        lines += [f"ios_{label} 0 {pole} {v_offset!r}"] if v_offset else []
        lines += [f"ramp_{label} {pole} 0 {gain!r}"] if np.isfinite(gain) else []
        farad = 1.0 / (2.0 * np.pi * float(periphery.gbw))
        return [*lines, f"camp_{label} {pole} 0 {farad!r}", f"eout_{label} {out} 0 {pole} 0 1.0"]
    if np.isinf(gain):
        # One source holds the input at the noisy reference; the output follows the ammeter.
        ohm = float(periphery.r_feedback)
        held = f"ehold_{label} {entry} 0 {reference} 0 1.0"
        return [*lines[:-1], held, f"hout_{label} {out} {entry} vtia_{label} {-ohm!r}"]
    if v_offset:
        return [*lines, f"bout_{label} {out} 0 v = {gain!r} * ({v_offset!r} - v({entry}))"]
    return [*lines, f"eout_{label} {out} 0 {reference} {entry} {gain!r}"]


def _reference(label: str, periphery: Periphery, v_offset: float) -> tuple[str, list[str]]:
    """Return the node of a noisy amplifier's other input, and the elements that hold it.

    A resistor without current makes the noise of the amplifier: 4 k T R = v_noise^2.
    """
    ohm = periphery.v_noise**2 / (4.0 * Boltzmann * T_REFERENCE)
    noise = f"rnoise_{label} noise_{label} 0 {float(ohm)!r}"
    return f"ref_{label}", [noise, f"vos_{label} ref_{label} noise_{label} {v_offset!r}"]


def input_tables(nodes: Sequence[str], v_in: np.ndarray) -> list[str]:
    """Return a source for each input node: a table of its voltages v_in (n_batch, n_word) [V]."""
    return [
        table_source(f"bin_{i}", node, volts)
        for i, (node, volts) in enumerate(zip(nodes, v_in.T.tolist()))
    ]


def table_source(name: str, node: str, volts: list[float]) -> str:
    """Return a source whose voltage at sweep index k is volts[k]."""
    # `pwl` extrapolates beyond its ends, so the table is flat far outside the sweep.
    points = [(-9e9, volts[0]), *enumerate(volts), (9e9, volts[-1])]
    table = ", ".join(f"{x!r}, {v!r}" for x, v in points)
    return f"{name} {node} 0 v = pwl(v(sel), {table})"


def run_cards(
    n_vector: int, path: str, outputs: Sequence[str], *, option: str, save: bool = True
) -> list[str]:
    """Return the end of a deck that sweeps over its input vectors and writes outputs to a file.

    option: the card of options.
    outputs: what is written, such as v(out_0).
    save: whether ngspice keeps nothing else in memory.
    """
    written = " ".join(outputs)
    cards = [option, f".dc vsel 0 {n_vector - 1} 1", *([f".save {written}"] if save else [])]
    cards += [".control", "set wr_singlescale", "set wr_vecnames", "set numdgt=15", "run"]
    return [*cards, f"wrdata {path} {written}", "quit", ".endc", ".end", ""]


def numbered(prefix: str, n: int) -> list[str]:
    """Return the names of n nodes: prefix_0, prefix_1, …"""
    return [f"{prefix}_{k}" for k in range(n)]
