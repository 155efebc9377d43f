"""Write a whole mapped network as a directory of SPICE text: cell → tile → layer → network.

Every branch resistor and every switch is an element. Wires and amplifiers come from the same
`Circuit` that the fast engine solves; only its cells are expanded into their branches.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mapping.bank import Die, ResistorBank
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery, Wires
from netlists.circuit.build import tile_circuit
from netlists.circuit.elements import CELL
from netlists.circuit.size import Size, require_room
from netlists.spice.amount import Amount, netlist_amount, unannounced
from netlists.spice.chain import Chain, bias_layers, network_deck
from netlists.spice.convolution_script import driver
from netlists.spice.inputs import N_RANDOM, Sweep, live_inputs, random_inputs
from netlists.spice.text import input_tables, numbered, options, run_cards, tia
from tinynets.files.drafts import new_directory
from tinynets.files.templates import rendered
from tinynets.progress import Progress, silent

_SIDES = ("p", "n")
#: Smallest resistance of a closed switch that is an element of its own, as a fraction of the
#: bank's largest resistor. Rounded voltages at its ends give ngspice a current that is wrong by
#: 1e-16 of that fraction's inverse, and it takes 0 ohm for 1e-12.
_LEAST_SWITCH = 1e-6


@dataclass(frozen=True)
class Decks:
    """What `write_network` writes.

    v_in: input vectors (n_batch, n_in) [V] by layer name, over which every deck sweeps. By default
        the `run.cir` of a layer sweeps over 64 random vectors in -v_read … v_read, those of
        `random_inputs`, and the deck of a tile over each word line alone at 0.1 V.
    each_input: `run.cir` sweeps over each input alone instead; its size grows with their square.
    v_read: voltage of the largest input [V].
    chain: for dense layers with a ReLU between them; adds `network.cir`, one circuit that takes the
        first layer's input vectors to the logits.
    tiles: those to write, all by default; the sums of a layer are then those of these tiles.
    progress: see `Progress`.
    announce: called with the `Amount` that is going to be written, before anything is.

    Raises ValueError for options that do not go together.
    """

    v_in: Mapping[str, np.ndarray] | None = None
    each_input: bool = False
    v_read: float = 0.2
    chain: Chain | None = None
    tiles: Sequence[Tile] | None = None
    progress: Progress = silent
    announce: Callable[[Amount], object] = unannounced

    def __post_init__(self) -> None:
        if self.each_input and self.v_in is not None:
            raise ValueError("each_input and v_in are two ways to say what is swept; give one")
        if self.chain is not None and self.tiles is not None:
            raise ValueError("a chain needs every tile; leave out chain, or tiles")

    def sweep(self, mapped: MappedNetwork) -> Sweep:
        """Return the input vectors of a network's decks."""
        if self.v_in is not None or self.each_input:
            return Sweep(self.v_in, None)
        return Sweep(None, random_inputs(mapped, v_read=self.v_read, n_vector=N_RANDOM))


def write_network(
    mapped: MappedNetwork,
    wires: Wires,
    periphery: Periphery,
    directory: str | Path,
    **options: Any,
) -> Path:
    """Write netlists that stock `ngspice -b` runs as they are; return the directory.

    options: the fields of `Decks`: v_in, each_input, v_read, chain, tiles, progress, announce.

    A convolution gets `run.py`, which runs images through its tiles.
    Raises ValueError for a bank without a finite r_off (an open switch must be a resistor), inputs
    that do not fit, or a network that is no chain; NetlistTooLarge for a netlist that would exhaust
    this machine's memory; OSError for more than the disk has room for; FileExistsError if the
    directory exists.
    """
    directory, decks = Path(directory), Decks(**options)
    if not np.isfinite(mapped.die.bank.r_off):
        raise ValueError(
            "r_off must be finite, because a netlist needs a resistor for an open switch; got inf: "
            "give the bank a finite r_off, such as 1e12 ohm for a nearly perfect switch"
        )
    sweep = decks.sweep(mapped)
    if decks.tiles is not None:
        mapped = mapped.part(decks.tiles)
    biases: dict[str, MappedLayer] = {}
    if decks.chain:
        decks.chain.check(mapped)
        biases = bias_layers(mapped)
        sweep = sweep.with_biases(biases.values(), decks.chain.v_bias)
    parts = [*mapped.layers, *biases.values()]
    inside = {f"{part.name}/run.cir": [part] for part in parts}
    if decks.chain:
        inside = {"network.cir": parts} | inside
    n, sizes = mapped.die.bank.n, {}
    for name, layers in inside.items():
        sizes[name] = netlist_size(layers, n, len(sweep.of_layer(layers[0])))
        require_room(sizes[name], f"the netlist {name}")
    amount = netlist_amount(parts, n, wires, sweep)
    amount.require_disk(directory)
    decks.announce(amount)
    with new_directory(directory) as draft:
        _write(draft / "cell.inc", [_cell(mapped.die.bank)])
        _write_layers(draft, parts, mapped.die, (wires, periphery), sweep, decks.progress)
        if decks.chain:
            volts = sweep.of_layer(mapped.layers[0])
            deck = network_deck(mapped, biases, periphery, decks.chain, volts)
            _write(draft / "network.cir", deck)
        values = {"mapped": mapped, "wires": wires, "periphery": periphery, "sizes": sizes}
        values["partial"] = [layer for layer in mapped.layers if _is_partial(layer)]
        _write(draft / "README.md", [rendered("netlists.spice", "README.md.j2", **values)])
    return directory


def _is_partial(layer: MappedLayer) -> bool:
    return sum(int(tile.present.sum()) for tile in layer.tiles) < layer.source.n_remaining


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


def _write_layers(
    directory: Path,
    layers: Sequence[MappedLayer],
    die: Die,
    circuits: tuple[Wires, Periphery],
    sweep: Sweep,
    tell: Progress,
) -> None:
    """Write the directory of each layer; tell how many tiles are done."""
    total, done = sum(len(layer.tiles) for layer in layers), 0
    option = options(circuits[1])
    for layer in layers:
        inside = directory / layer.name
        inside.mkdir()
        for tile in layer.tiles:
            tell("netlists", done, total)
            _write(inside / f"{tile.name}.inc", _tile(tile, die, *circuits))
            _write(inside / f"{tile.name}.cir", _run_tile(tile, sweep.of_tile(layer, tile), option))
            done += 1
        _write(inside / "layer.inc", _layer(layer))
        _write(inside / "run.cir", _run(layer, sweep.of_layer(layer), option))
        if layer.source.conv:
            _write(inside / "run.py", [driver(layer)])
    tell("netlists", done, total)


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines), encoding="utf-8")


def _cell(bank: ResistorBank) -> str:
    """Return the subcircuit of a differential pair: 2 n resistors, each with its switch."""
    branches = list(product(_SIDES, range(bank.n)))
    parameters = " ".join(f"r_{s}_{k}=1 s_{s}_{k}=1" for s, k in branches)
    lines = [
        "* one weight: banks p and n between word line wl and bit lines bl_p, bl_n",
        "* r_*: branch resistor, s_*: its switch, closed or open [ohm]",
    ]
    alone = bank.r_on >= _LEAST_SWITCH * bank.r_nominal.max()
    if not alone:
        lines.append("* both are one element, as closed switches have almost no resistance")
    lines.append(f".subckt cell wl bl_p bl_n params: {parameters}")
    for s, k in branches:
        if alone:
            lines.append(f"Rc_{s}_{k} wl m_{s}_{k} {{r_{s}_{k}}}")
            lines.append(f"Rs_{s}_{k} m_{s}_{k} bl_{s} {{s_{s}_{k}}}")
        else:
            lines.append(f"Rc_{s}_{k} wl bl_{s} {{r_{s}_{k} + s_{s}_{k}}}")
    return "\n".join([*lines, ".ends", ""])


def _tile(tile: Tile, die: Die, wires: Wires, periphery: Periphery) -> Iterator[str]:
    periphery = periphery.for_tile(tile.name)
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


def _run(layer: MappedLayer, v_in: np.ndarray, option: str) -> Iterator[str]:
    """Yield a deck that sweeps over all input vectors and writes the outputs to outputs.txt.

    Inputs without a word line have no table; they are grounded.
    """
    inputs, outputs = numbered("in", layer.source.n_in), numbered("out", layer.source.n_out)
    live = set(live_inputs(layer).tolist())
    nodes = [name if i in live else "0" for i, name in enumerate(inputs)]
    yield f"* layer {layer.name}: {len(v_in)} input vectors"
    yield from (".include ../cell.inc", ".include layer.inc", "vsel sel 0 0")
    yield from (table for node, table in zip(nodes, input_tables(inputs, v_in)) if node != "0")
    yield f"Xlayer {' '.join(nodes)} {' '.join(outputs)} layer_{layer.name}"
    written = [f"v({name})" for name in outputs]
    yield from run_cards(len(v_in), "outputs.txt", written, option=option, save=False)


def _run_tile(tile: Tile, v_in: np.ndarray, option: str) -> Iterator[str]:
    """Yield a deck that sweeps over the input vectors of one tile and writes its TIA currents."""
    inputs = numbered("in", tile.n_word)
    outputs = [f"out_{j}_{s}" for s in _SIDES for j in range(tile.n_bit)]
    currents = [f"i(v.xtile.vtia_{name})" for name in outputs]
    yield f"* tile {tile.name}: {len(v_in)} input vectors"
    yield from (".include ../cell.inc", f".include {tile.name}.inc", "vsel sel 0 0")
    yield from input_tables(inputs, v_in)
    yield f"Xtile {' '.join(inputs)} {' '.join(outputs)} {tile.name}"
    yield from run_cards(len(v_in), f"{tile.name}.txt", currents, option=option)
