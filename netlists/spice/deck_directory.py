"""Write a whole mapped network as a directory of SPICE text: cell → tile → layer → network.

Every branch resistor and every switch is an element. Wires and amplifiers come from the same
`Circuit` that the fast engine solves; only its cells are expanded into their branches.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from mapping.bank import Die
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery, Wires
from netlists.circuit.build import tile_circuit
from netlists.circuit.elements import CELL
from netlists.circuit.size import Size, require_room
from netlists.spice.chain import Chain, bias_layers, network_deck
from netlists.spice.convolution_script import driver
from netlists.spice.text import MAX_VECTORS, input_tables, numbered, run_cards, tia
from tinynets.files.drafts import new_directory
from tinynets.files.templates import rendered

_SIDES = ("p", "n")


def write_network(
    mapped: MappedNetwork,
    wires: Wires,
    periphery: Periphery,
    directory: str | Path,
    *,
    v_in: Mapping[str, np.ndarray] | None = None,
    chain: Chain | None = None,
) -> Path:
    """Write netlists that stock `ngspice -b` runs as they are; return the directory.

    v_in: input vectors (n_batch, n_in) [V] by layer name; the layer's `run.cir` sweeps over them.
        The default is each input alone at 0.1 V.
    chain: for dense layers with a ReLU between them; adds `network.cir`, one circuit that takes the
        first layer's input vectors to the logits.

    A convolution gets `run.py`, which runs images through its tiles.
    Raises ValueError for a bank without a finite r_off (an open switch must be a resistor), inputs
    that do not fit, or a network that is no chain; NetlistTooLarge for a netlist that would exhaust
    this machine's memory; FileExistsError if the directory exists.
    """
    directory = Path(directory)
    if not np.isfinite(mapped.die.bank.r_off):
        raise ValueError(
            "r_off must be finite, because a netlist needs a resistor for an open switch; got inf: "
            "give the bank a finite r_off, such as 1e12 ohm for a nearly perfect switch"
        )
    volts = {layer.name: _inputs(layer, v_in) for layer in mapped.layers}
    biases: dict[str, MappedLayer] = {}
    if chain:
        chain.check(mapped)
        biases = bias_layers(mapped)
        volts |= {bias.name: np.array([[chain.v_bias]]) for bias in biases.values()}
    parts = [*mapped.layers, *biases.values()]
    decks = {f"{part.name}/run.cir": [part] for part in parts}
    if chain:
        decks = {"network.cir": parts} | decks
    sizes = {
        name: netlist_size(inside, mapped.die.bank.n, len(volts[inside[0].name]))
        for name, inside in decks.items()
    }
    for name, size in sizes.items():
        require_room(size, f"the netlist {name}")
    with new_directory(directory) as draft:
        _write(draft / "cell.inc", [_cell(mapped.die.bank.n)])
        for part in parts:
            _write_layer(draft / part.name, part, mapped.die, wires, periphery, volts[part.name])
        if chain:
            deck = network_deck(mapped, biases, periphery, chain, volts[mapped.layers[0].name])
            _write(draft / "network.cir", deck)
        values = {"mapped": mapped, "wires": wires, "periphery": periphery, "sizes": sizes}
        _write(draft / "README.md", [rendered("netlists.spice", "README.md.j2", **values)])
    return directory


def network_files(mapped: MappedNetwork) -> set[str]:
    """Return the names of the files that `write_network` writes without a chain."""
    names = {"README.md", "cell.inc"}
    for layer in mapped.layers:
        inside = ["layer.inc", "run.cir", *(["run.py"] if layer.source.conv else [])]
        inside += [f"{tile.name}{suffix}" for tile in layer.tiles for suffix in (".inc", ".cir")]
        names |= {f"{layer.name}/{name}" for name in inside}
    return names


def netlist_size(layers: Sequence[MappedLayer], n: int, n_vector: int) -> Size:
    """Return the size of one deck.

    layers: the layers in it.
    n: branches of a bank.
    n_vector: input vectors of the sweep.
    """
    per_cell = 2 + 4 * n  # bit-line segments, and for each branch a resistor and its switch
    counts = [
        tile.present.size + per_cell * int(tile.present.sum()) + 6 * tile.n_bit + tile.n_word
        for layer in layers
        for tile in layer.tiles
    ]
    return Size.of_circuits(counts, n_vector)


def _inputs(layer: MappedLayer, v_in: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """Return the input vectors (n_batch, n_in) [V] of a layer, checked."""
    if v_in is None:
        return 0.1 * np.eye(layer.source.n_in)
    if layer.name not in v_in:
        raise ValueError(f"v_in has layers {sorted(v_in)} but no {layer.name!r}; pass its voltages")
    volts = np.asarray(v_in[layer.name], dtype=np.float64)
    if volts.ndim != 2 or volts.shape[1] != layer.source.n_in or not np.isfinite(volts).all():
        raise ValueError(
            f"layer {layer.name!r}: v_in has shape {volts.shape}; expected finite voltages of "
            f"shape (n_batch, {layer.source.n_in})"
        )
    if not 0 < len(volts) <= MAX_VECTORS:
        raise ValueError(
            f"layer {layer.name!r}: {len(volts)} input vectors; pass 1 … {MAX_VECTORS}"
        )
    return volts


def _write_layer(
    directory: Path,
    layer: MappedLayer,
    die: Die,
    wires: Wires,
    periphery: Periphery,
    v_in: np.ndarray,
) -> None:
    directory.mkdir()
    for tile in layer.tiles:
        text = _tile(tile, die, wires, periphery.for_tile(tile.name))
        _write(directory / f"{tile.name}.inc", text)
        _write(directory / f"{tile.name}.cir", _run_tile(tile, v_in[:, tile.rows]))
    _write(directory / "layer.inc", _layer(layer))
    _write(directory / "run.cir", _run(layer, v_in))
    if layer.source.conv:
        _write(directory / "run.py", [driver(layer)])


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines), encoding="utf-8")


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
    parts, (nodes, branch_names) = circuit.elements, circuit.names
    inputs = [nodes[k] for k in parts.input_nodes]
    outputs = [f"out_{j}_{s}" for s in _SIDES for j in range(tile.n_bit)]
    yield f"* {tile.n_word} word lines, {tile.n_bit} pairs of bit lines"
    yield f".subckt {tile.name} {' '.join(inputs)} {' '.join(outputs)}"
    ends: dict[str, tuple[str, str]] = {}
    arrays = (parts.branch_from, parts.branch_to, parts.branch_ohm, parts.branch_part)
    for name, a, b, ohm, part in zip(branch_names, *(array.tolist() for array in arrays)):
        ends[name] = nodes[a], nodes[b]
        if part != CELL:
            yield f"{name} {nodes[a]} {nodes[b]} {ohm!r}"
    for i, j, values in _cells(tile, die):
        word, bit_p = ends[f"Rc_{i}_{j}_p"]
        _, bit_n = ends[f"Rc_{i}_{j}_n"]
        yield f"Xc_{i}_{j} {word} {bit_p} {bit_n} cell {values}"
    offsets = periphery.offsets(circuit.n_line).tolist()
    for node, out, v_offset in zip(parts.tia_nodes.tolist(), outputs, offsets):
        yield from tia(out, nodes[node], out, periphery, v_offset)
    yield from (".ends", "")


def _cells(tile: Tile, die: Die) -> Iterator[tuple[int, int, str]]:
    """Yield word line, bit line and parameters of every cell with devices."""
    i, j = np.nonzero(tile.present)
    rows, columns = tile.cells
    resistor = die.resistances(tile.layer, rows, columns).tolist()
    switch = die.switches(tile.layer, rows, columns, tile.closed(die.bank.n)).tolist()
    for c, (word, bit) in enumerate(zip(i.tolist(), j.tolist())):
        values = [
            f"r_{s}_{k}={resistor[c][side][k]!r} s_{s}_{k}={switch[c][side][k]!r}"
            for side, s in enumerate(_SIDES)
            for k in range(die.bank.n)
        ]
        yield word, bit, " ".join(values)


def _layer(layer: MappedLayer) -> Iterator[str]:
    """Yield the subcircuit of a layer: its tiles, and the sum of their outputs."""
    ports = numbered("in", layer.source.n_in) + numbered("out", layer.source.n_out)
    yield "* out_j = sum over tiles of r_feedback * A / (1 + A) * (i_p - i_n), added up after ADCs;"
    yield "* A is the gain of the TIAs"
    yield from (f".include {tile.name}.inc" for tile in layer.tiles)
    yield f".subckt layer_{layer.name} {' '.join(ports)}"
    terms: dict[int, list[str]] = {j: [] for j in range(layer.source.n_out)}
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
    """Yield a deck that sweeps over all input vectors and writes the outputs to outputs.txt."""
    inputs, outputs = numbered("in", layer.source.n_in), numbered("out", layer.source.n_out)
    yield f"* layer {layer.name}: {len(v_in)} input vectors"
    yield from (".include ../cell.inc", ".include layer.inc", "vsel sel 0 0")
    yield from input_tables(inputs, v_in)
    yield f"Xlayer {' '.join(inputs)} {' '.join(outputs)} layer_{layer.name}"
    written = [f"v({name})" for name in outputs]
    yield from run_cards(len(v_in), "outputs.txt", written, save=False)


def _run_tile(tile: Tile, v_in: np.ndarray) -> Iterator[str]:
    """Yield a deck that sweeps over the input vectors of one tile and writes its TIA currents.

    Input vectors that drive no word line of the tile are left out; if none drives one, the first
    vector stays.
    """
    driven = v_in[v_in.any(axis=1)]
    v_in = driven if len(driven) else v_in[:1]
    inputs = numbered("in", tile.n_word)
    outputs = [f"out_{j}_{s}" for s in _SIDES for j in range(tile.n_bit)]
    currents = [f"i(v.xtile.vtia_{name})" for name in outputs]
    yield f"* tile {tile.name}: {len(v_in)} input vectors"
    yield from (".include ../cell.inc", f".include {tile.name}.inc", "vsel sel 0 0")
    yield from input_tables(inputs, v_in)
    yield f"Xtile {' '.join(inputs)} {' '.join(outputs)} {tile.name}"
    yield from run_cards(len(v_in), f"{tile.name}.txt", currents)
