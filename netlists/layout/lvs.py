"""Layout versus schematic: are the branches extracted from mask data those that were selected?

KLayout extracts devices and nets from the polygons alone. Every resistor is then followed from its
word line, strip by strip and through its switch, to its bit line, and compared with the tile.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mapping.bank import ResistorBank
from mapping.bank.switches import closed_switches
from mapping.tiling.tiles import Tile
from netlists.layout.drc import derived_layers, top_cell
from netlists.layout.floorplan import Programming
from netlists.layout.technology import Technology, klayout

if TYPE_CHECKING:
    import klayout.db as db

#: Largest relative difference between a drawn and a nominal resistor; lengths are on a grid.
TOLERANCE = 5e-3

#: The end of a branch that is not connected.
OPEN = "nothing"

#: Mismatches that are listed; the rest are counted.
_SHOWN = 20


@dataclass(frozen=True)
class ExtractedBranch:
    """A branch extracted from a layout.

    start: name of its word line.
    end: name of its bit line, or OPEN.
    ohm: resistance [ohm].
    switched: True if it contains a switch.
    """

    start: str
    end: str
    ohm: float
    switched: bool


@dataclass(frozen=True)
class Extraction:
    """Everything extracted from a layout.

    nets: names of the nets.
    branches: branches of all word lines.
    problems: structures that are no valid branch, in words.
    n_strip, n_switch: numbers of devices, whether or not a branch contains them.
    """

    nets: tuple[str, ...]
    branches: tuple[ExtractedBranch, ...]
    problems: tuple[str, ...]
    n_strip: int
    n_switch: int


@dataclass(frozen=True)
class Comparison:
    """A layout compared with a tile; `mismatches` lists the differences in words, up to a limit."""

    n_branch: int
    n_switch: int
    mismatches: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """True if the layout is that of the tile."""
        return not self.mismatches


def compare_layout(
    layout: "db.Layout",
    tile: Tile,
    bank: ResistorBank,
    technology: Technology,
    *,
    programming: Programming,
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Return how a layout differs from a tile: devices, values and connections.

    tile, bank, programming: what the layout should contain.
    tolerance: allowed relative error of a resistor.

    With switches, every branch must have one; with vias, only closed branches may reach a bit line.
    Raises ImportError without KLayout and ValueError for a layout without exactly one top cell.
    """
    drawn = extract_branches(layout, technology)
    problems = [*drawn.problems, *_compare_names(drawn.nets, tile)]
    problems += _compare_branches(_targets(tile, bank, programming), drawn.branches, tolerance)
    n_switch = len(drawn.branches) if programming == "switch" else 0
    if drawn.n_switch != n_switch:
        problems.append(f"{n_switch} switches expected; got {drawn.n_switch}")
    hidden = len(problems) - _SHOWN
    if hidden > 0:
        problems[_SHOWN:] = [f"and {hidden} more"]
    return Comparison(len(drawn.branches), drawn.n_switch, tuple(problems))


def extract_branches(layout: "db.Layout", technology: Technology) -> Extraction:
    """Return the branches that the polygons of a layout form.

    Raises ImportError without KLayout and ValueError for a layout without exactly one top cell.
    """
    extractor = extract_netlist(layout, technology)
    return _trace(extractor.netlist().top_circuit(), technology)


def extract_netlist(layout: "db.Layout", technology: Technology) -> "db.LayoutToNetlist":
    """Return KLayout's extractor of a layout, whose `netlist()` is flat and lives as long as it.

    The devices are "strip", without the resistance of its ends, and "switch". Raises what
    `extract_branches` does.
    """
    extractor = klayout().LayoutToNetlist(
        klayout().RecursiveShapeIterator(layout, top_cell(layout), [])
    )
    _connect(extractor, _extract_devices(extractor, layout, technology))
    extractor.extract_netlist()
    extractor.netlist().flatten()
    return extractor


def _extract_devices(extractor: Any, layout: Any, technology: Technology) -> dict[str, Any]:
    """Extract resistors and switches; return all layers, drawn and derived."""
    layers = {}
    for name, numbers in technology.layers.items():
        make = extractor.make_text_layer if name.endswith("text") else extractor.make_layer
        layers[name] = make(layout.layer(*numbers), name)
    layers |= derived_layers(layers, technology)
    layers["contact poly"] = layers["poly"] - layers["resistor"]
    layers["terminal"] = layers["diff"] - layers["gate"]
    for name in ("resistor", "gate", "contact poly", "terminal"):
        extractor.register(layers[name], name)
    sheet = technology.film.r_sheet
    extractor.extract_devices(
        klayout().DeviceExtractorResistor("strip", sheet),
        {"R": layers["resistor"], "C": layers["contact poly"]},
    )
    extractor.extract_devices(
        klayout().DeviceExtractorMOS3Transistor("switch"),
        {"SD": layers["terminal"], "G": layers["gate"], "P": layers["contact poly"]},
    )
    return layers


def _connect(extractor: Any, layers: dict[str, Any]) -> None:
    stack = ["licon", "li1", "mcon", "met1", "via", "met2", "via2", "met3", "met3_text"]
    for name in ("contact poly", "terminal", *stack[:-1]):
        extractor.connect(layers[name])
    ends = (("contact poly", "licon"), ("terminal", "licon"))
    for low, high in (*ends, *pairwise(stack)):
        extractor.connect(layers[low], layers[high])


@dataclass(frozen=True)
class _Device:
    """A device: its two nets, and its resistance [ohm], 0 for a switch."""

    ends: tuple[int, int]
    ohm: float


def _trace(circuit: Any, technology: Technology) -> Extraction:
    """Follow the branches of a flat circuit from its word lines."""
    names = {net.cluster_id: net.name for net in circuit.each_net() if net.name}
    devices = [_device(device, technology) for device in circuit.each_device()]
    at: dict[int, list[int]] = defaultdict(list)
    for number, device in enumerate(devices):
        for end in set(device.ends):
            at[end].append(number)
    branches, problems, used = [], list(_gate_problems(circuit, at)), set()
    words = [net for net, name in names.items() if name.startswith("in_")]
    for net in words:
        for first in at[net]:
            path, end, problem = _follow(net, first, devices, at, names)
            used.update(path)
            if problem:
                problems.append(f"{names[net]}: {problem}")
            else:
                parts = [devices[number] for number in path]
                ohm, switched = sum(p.ohm for p in parts), any(not p.ohm for p in parts)
                branches.append(ExtractedBranch(names[net], names.get(end, OPEN), ohm, switched))
    lost = len(devices) - len(used)
    if lost:
        problems.append(f"{lost} devices are on no branch of a word line")
    n_switch = sum(not device.ohm for device in devices)
    n_strip = len(devices) - n_switch
    return Extraction(
        tuple(sorted(names.values())), tuple(branches), tuple(problems), n_strip, n_switch
    )


def _device(device: Any, technology: Technology) -> _Device:
    switch = device.device_class().name == "switch"
    a, b = (device.net_for_terminal(terminal).cluster_id for terminal in ("SD" if switch else "AB"))
    return _Device((a, b), 0.0 if switch else device.parameter("R") + 2 * technology.r_end)


def _gate_problems(circuit: Any, at: dict[int, list[int]]) -> Iterator[str]:
    """Yield a problem if any switch has a gate that is not a net of its own."""
    gates = Counter(
        device.net_for_terminal("G").cluster_id
        for device in circuit.each_device()
        if device.device_class().name == "switch"
    )
    tied = sum(count for net, count in gates.items() if count > 1 or net in at)
    if tied:
        yield f"the gates of {tied} switches are tied to each other or to a branch"


def _follow(
    net: int, number: int, devices: list[_Device], at: dict[int, list[int]], names: dict[int, str]
) -> tuple[list[int], int, str]:
    """Follow devices in series from a net.

    Returns the devices, the net at the end, and the problem with them, if any.
    """
    path = []
    while True:
        path.append(number)
        a, b = devices[number].ends
        net = b if net == a else a
        if a == b:
            return path, net, "a resistor or switch is shorted"
        others = [k for k in at[net] if k != number]
        if net in names or not others:
            return path, net, ""
        if len(others) > 1 or others[0] in path:
            return path, net, "resistors are tied together before they reach a bit line"
        number = others[0]


def _targets(tile: Tile, bank: ResistorBank, programming: Programming) -> list[ExtractedBranch]:
    """Return the branches that the layout of a tile should have, with nominal values."""
    switched, branches = programming == "switch", []
    for side, chosen in (("p", tile.chosen_pos), ("n", tile.chosen_neg)):
        closed = closed_switches(chosen, bank.n)
        for i, j in np.argwhere(tile.present).tolist():
            for k, ohm in enumerate(bank.r_nominal.tolist()):
                end = f"out_{j}_{side}" if switched or closed[i, j, k] else OPEN
                branches.append(ExtractedBranch(f"in_{i}", end, ohm, switched))
    return branches


def _compare_names(nets: tuple[str, ...], tile: Tile) -> Iterator[str]:
    names = [f"in_{i}" for i in range(tile.n_word)]
    names += [f"out_{j}_{side}" for j in range(tile.n_bit) for side in "pn"]
    difference = Counter(nets)
    difference.subtract(names)
    for name, count in sorted(difference.items()):
        if count < 0:
            yield f"net {name} does not exist as a separate net"
        elif count > 0:
            yield f"net {name} should not exist" + (", lines are shorted" * ("," in name))


def _compare_branches(
    targets: list[ExtractedBranch], extracted: tuple[ExtractedBranch, ...], tolerance: float
) -> Iterator[str]:
    """Yield where the resistors between two lines differ in number, value or switches."""
    groups: dict[tuple, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for which, branches in enumerate((targets, extracted)):
        for branch in branches:
            groups[branch.start, branch.end, branch.switched][which].append(branch.ohm)
    for (start, end, switched), (ideal, drawn) in sorted(groups.items()):
        place = f"{start} to {end}" + (" through switches" if switched else "")
        if len(ideal) != len(drawn):
            yield f"{place}: {len(ideal)} resistors expected; got {len(drawn)}"
            continue
        for a, b in zip(sorted(ideal), sorted(drawn)):
            if abs(b - a) > tolerance * a:
                yield f"{place}: {a:g} ohm expected; got {b:g} ohm"
