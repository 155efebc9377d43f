"""Write a whole mapped network as a directory of SPICE text: cell → tile → layer.

Every branch resistor and every switch is an element. Wires and amplifiers are taken from the same
`Circuit` that the fast engine solves; only its cells are opened up into their branches.
"""

import shutil
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np

from mapping.bank import Die
from mapping.design import MappedLayer, MappedNetwork
from mapping.tiles import Tile, closed_switches
from netlists.build import tile_circuit
from netlists.circuit import CELL, Periphery, Wires
from netlists.spice import OPTIONS, table_source, tia

_SIDES = ("p", "n")


def write_network(
    mapped: MappedNetwork,
    wires: Wires,
    periphery: Periphery,
    directory: str | Path,
    *,
    v_in: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write netlists that stock `ngspice -b` runs as they are; return the directory.

    v_in: for each layer (by name) the input vectors (n_batch, n_in) [V] that its `run.cir`
    sweeps over; by default each input alone at 0.1 V.
    Raises ValueError for a bank without a finite r_off (an open switch must be a resistor) or
    inputs that do not fit, FileExistsError when the directory is there already.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(f"{directory} exists; remove it or choose another directory")
    if not np.isfinite(mapped.die.bank.r_off):
        raise ValueError(
            "r_off is infinite, but a netlist needs a resistor for an open switch; "
            "give the bank a finite r_off, 1e12 ohm for a perfect switch"
        )
    drafts = directory.with_name(f"{directory.name}.tmp")
    shutil.rmtree(drafts, ignore_errors=True)
    drafts.mkdir(parents=True)
    (drafts / "cell.inc").write_text(_cell(mapped.die.bank.n))
    for layer in mapped.layers:
        volts = 0.1 * np.eye(layer.layer.n_in) if v_in is None else v_in[layer.name]
        _write_layer(drafts / layer.name, layer, mapped.die, wires, periphery, volts)
    (drafts / "README.md").write_text(_readme(mapped, wires, periphery))
    drafts.rename(directory)
    return directory


def _write_layer(
    directory: Path,
    layer: MappedLayer,
    die: Die,
    wires: Wires,
    periphery: Periphery,
    v_in: np.ndarray,
) -> None:
    v_in = np.asarray(v_in, dtype=np.float64)
    if v_in.ndim != 2 or v_in.shape[1] != layer.layer.n_in or not np.isfinite(v_in).all():
        raise ValueError(
            f"layer {layer.name!r}: v_in has shape {v_in.shape}; expected finite voltages of "
            f"shape (n_batch, {layer.layer.n_in})"
        )
    directory.mkdir()
    for tile in layer.tiles:
        text = "\n".join(_tile(tile, die, wires, periphery))
        (directory / f"{tile.name}.inc").write_text(text)
    (directory / "layer.inc").write_text("\n".join(_layer(layer)))
    (directory / "run.cir").write_text("\n".join(_run(layer, v_in)))


def _cell(n: int) -> str:
    """Return the subcircuit of a differential pair: 2 n resistors, each with its switch."""
    branches = list(product(_SIDES, range(n)))
    parameters = " ".join(f"r_{s}_{k}=1 s_{s}_{k}=1" for s, k in branches)
    lines = [
        "* one weight: banks p and n between word line wl and bit lines bl_p, bl_n",
        "* r_*: branch resistor, s_*: its switch, closed or open [ohm]",
        f".subckt cell wl bl_p bl_n params: {parameters}",
    ]
    for s, k in branches:
        lines += [
            f"Rc_{s}_{k} wl m_{s}_{k} {{r_{s}_{k}}}",
            f"Rs_{s}_{k} m_{s}_{k} bl_{s} {{s_{s}_{k}}}",
        ]
    return "\n".join([*lines, ".ends", ""])


def _tile(tile: Tile, die: Die, wires: Wires, periphery: Periphery) -> Iterator[str]:
    circuit = tile_circuit(tile, wires, periphery)
    parts, (names, branch_names) = circuit.elements, circuit.names
    inputs = [names[k] for k in parts.input_nodes]
    outputs = [f"out_{j}_{s}" for s in _SIDES for j in range(tile.n_bit)]
    yield f"* {tile.n_word} word lines, {tile.n_bit} pairs of bit lines"
    yield f".subckt {tile.name} {' '.join(inputs)} {' '.join(outputs)}"
    ends: dict[str, tuple[str, str]] = {}
    for name, a, b, ohm, part in zip(
        branch_names,
        parts.branch_from.tolist(),
        parts.branch_to.tolist(),
        parts.branch_ohm.tolist(),
        parts.branch_part.tolist(),
    ):
        ends[name] = names[a], names[b]
        if part != CELL:
            yield f"{name} {names[a]} {names[b]} {ohm!r}"
    for i, j, values in _cells(tile, die):
        word, bit_p = ends[f"Rc_{i}_{j}_p"]
        _, bit_n = ends[f"Rc_{i}_{j}_n"]
        yield f"Xc_{i}_{j} {word} {bit_p} {bit_n} cell {values}"
    for node, out in zip(parts.tia_nodes.tolist(), outputs):
        yield from tia(out, names[node], out, periphery)
    yield from (".ends", "")


def _cells(tile: Tile, die: Die) -> Iterator[tuple[int, int, str]]:
    """Yield word line, bit line and the parameters of every cell with devices."""
    i, j = np.nonzero(tile.present)
    rows, columns = tile.rows[i], tile.columns[j]
    chosen = np.stack([tile.chosen_pos[i, j], tile.chosen_neg[i, j]], axis=1)
    closed = closed_switches(chosen, die.bank.n)
    resistor = die.resistances(tile.layer, rows, columns).tolist()
    switch = die.switches(tile.layer, rows, columns, closed).tolist()
    for c, (word, bit) in enumerate(zip(i.tolist(), j.tolist())):
        values = [
            f"r_{s}_{k}={resistor[c][side][k]!r} s_{s}_{k}={switch[c][side][k]!r}"
            for side, s in enumerate(_SIDES)
            for k in range(die.bank.n)
        ]
        yield word, bit, " ".join(values)


def _layer(layer: MappedLayer) -> Iterator[str]:
    """Yield the subcircuit of a layer: its tiles, and the sum of their outputs."""
    ports = [f"in_{i}" for i in range(layer.layer.n_in)]
    ports += [f"out_{j}" for j in range(layer.layer.n_out)]
    yield "* out_j = sum over tiles of r_feedback * (i_p - i_n), as added up after the ADCs"
    yield from (f".include {tile.name}.inc" for tile in layer.tiles)
    yield f".subckt layer_{layer.name} {' '.join(ports)}"
    terms: dict[int, list[str]] = {j: [] for j in range(layer.layer.n_out)}
    for t, tile in enumerate(layer.tiles):
        inputs = " ".join(f"in_{i}" for i in tile.rows)
        outputs = " ".join(f"t{t}_{s}_{j}" for s in _SIDES for j in tile.columns)
        yield f"Xt_{t} {inputs} {outputs} {tile.name}"
        for j in tile.columns:
            terms[int(j)].append(f"v(t{t}_n_{j}) - v(t{t}_p_{j})")
    for j, parts in terms.items():
        yield f"bsum_{j} out_{j} 0 v = {' + '.join(parts) or '0'}"
    yield from (".ends", "")


def _run(layer: MappedLayer, v_in: np.ndarray) -> Iterator[str]:
    """Yield a deck that sweeps all input vectors and writes the outputs to outputs.txt."""
    inputs = [f"in_{i}" for i in range(layer.layer.n_in)]
    outputs = [f"out_{j}" for j in range(layer.layer.n_out)]
    yield f"* layer {layer.name}: {len(v_in)} input vectors"
    yield from (".include ../cell.inc", ".include layer.inc", "vsel sel 0 0")
    for i, name in enumerate(inputs):
        yield table_source(f"bin_{i}", name, v_in[:, i].tolist())
    yield f"Xlayer {' '.join(inputs)} {' '.join(outputs)} layer_{layer.name}"
    yield from (OPTIONS, f".dc vsel 0 {len(v_in) - 1} 1")
    yield from (".control", "set wr_singlescale", "set wr_vecnames", "set numdgt=15", "run")
    yield f"wrdata outputs.txt {' '.join(f'v({name})' for name in outputs)}"
    yield from ("quit", ".endc", ".end", "")


def _readme(mapped: MappedNetwork, wires: Wires, periphery: Periphery) -> str:
    rows = "\n".join(
        f"| {layer.name} | {layer.layer.n_in} | {layer.layer.n_out} | {len(layer.tiles)} | "
        f"{layer.layer.n_remaining} | {'im2col' if layer.layer.conv else 'dense'} |"
        for layer in mapped.layers
    )
    return f"""# SPICE netlists of a mapped network

Run one layer: `cd <layer>; ngspice -b run.cir`. It sweeps the input vectors (a table per input over
the index `vsel`) and writes `outputs.txt`: the index, then one column per output [V]. ngspice
should say that it uses KLU; without it, large tiles take very long.

| layer | inputs | outputs | tiles | weights | kind |
|---|---|---|---|---|---|
{rows}

- `cell.inc`: one weight, a differential pair of banks of {mapped.die.bank.n} branches. `Rc_*` is a
  branch resistor, `Rs_*` its switch (closed or open resistance).
- `<layer>/<layer>_<a>_<b>.inc`: a tile. Word lines `in_i` enter at the left, bit lines end in
  transimpedance amplifiers (TIA) at the bottom, outputs `out_j_p` and `out_j_n`. `Rd` driver,
  `Rw`, `Rb` wire segments, `Xc_i_j` the cell of word line i and bit line j. A pruned weight has no
  cell.
- `<layer>/layer.inc`: the layer: its tiles, and ideal sums standing for the addition after the
  ADCs: out_j = r_feedback * (i_p - i_n), summed over tiles. A convolution's inputs are one im2col
  patch; the same tiles serve every position.
- `<layer>/run.cir`: the deck.

Wires: {wires.r_word!r} ohm a word-line segment, {wires.r_bit!r} ohm a bit-line segment, drivers
{wires.r_driver!r} ohm. TIA: feedback {periphery.r_feedback!r} ohm, gain {periphery.tia_gain!r}.
Die {mapped.die.id}, seed {mapped.die.seed}. Not in these netlists: bias (added digitally), DAC and
ADC quantisation, noise, capacitance.
"""
