"""Layout against mapping: the branches read back from mask data are those that were selected.

KLayout extracts devices and nets from the polygons alone. From each word line we then follow every
resistor, strip after strip and through its switch, to the bit line it ends on, and compare.
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

#: Largest relative difference between a drawn and a nominal resistor: lengths are on a grid.
TOLERANCE = 5e-3

#: Where a branch leads that ends on nothing.
OPEN = "nothing"

#: Mismatches that are spelt out; the rest is counted.
_SHOWN = 20


@dataclass(frozen=True)
class ExtractedBranch:
    """A resistor found in a layout: from line to line, through a switch or not; ohm [ohm].

    end: the name of a line, or OPEN.
    """

    start: str
    end: str
    ohm: float
    switched: bool


@dataclass(frozen=True)
class Extraction:
    """What a layout holds: its named nets, its branches, and what makes no sense in it.

    n_strip, n_switch: devices found, whether or not a branch uses them.
    """

    nets: tuple[str, ...]
    branches: tuple[ExtractedBranch, ...]
    problems: tuple[str, ...]
    n_strip: int
    n_switch: int


@dataclass(frozen=True)
class Comparison:
    """Layout against mapping; `mismatches` says in words what differs, at most this many."""

    n_branch: int
    n_switch: int
    mismatches: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether the layout is what was mapped."""
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

    tile, bank, programming: as the layout is meant to be. tolerance: of a resistor, relative.
    Switches must be there for every branch; with vias only closed branches may reach a bit line.
    Raises ImportError without KLayout, ValueError for a layout without exactly one top cell.
    """
    found = extract_branches(layout, technology)
    wanted = _targets(tile, bank, programming)
    problems = [*found.problems, *_compare_names(found.nets, tile)]
    problems += _compare_branches(wanted, found.branches, tolerance)
    n_switch = len(found.branches) if programming == "switch" else 0
    if found.n_switch != n_switch:
        problems.append(f"{n_switch} switches expected; got {found.n_switch}")
    hidden = len(problems) - _SHOWN
    if hidden > 0:
        problems[_SHOWN:] = [f"and {hidden} more"]
    return Comparison(len(found.branches), found.n_switch, tuple(problems))


def extract_branches(layout: "db.Layout", technology: Technology) -> Extraction:
    """Return the branches that the polygons of a layout make.

    Raises ImportError without KLayout, ValueError for a layout without exactly one top cell.
    """
    extractor = extract_netlist(layout, technology)
    return _trace(extractor.netlist().top_circuit(), technology)


def extract_netlist(layout: "db.Layout", technology: Technology) -> "db.LayoutToNetlist":
    """Return what holds KLayout's flat netlist: devices "strip", without their ends, and "switch".

    Its `netlist()` lives as long as it does. Raises as `extract_branches` does.
    """
    extractor = klayout().LayoutToNetlist(
        klayout().RecursiveShapeIterator(layout, top_cell(layout), [])
    )
    _connect(extractor, _extract_devices(extractor, layout, technology))
    extractor.extract_netlist()
    extractor.netlist().flatten()
    return extractor


def _extract_devices(extractor: Any, layout: Any, technology: Technology) -> dict[str, Any]:
    """Find resistors and switches; return all layers, drawn and derived."""
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
    """Two ends (numbers of nets), resistance [ohm]; a switch has none."""

    ends: tuple[int, int]
    ohm: float


def _trace(circuit: Any, technology: Technology) -> Extraction:
    """Follow the branches of a flat circuit from its named nets."""
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
    if device.device_class().name == "switch":
        a, b = (device.net_for_terminal(t).cluster_id for t in ("S", "D"))
        return _Device((a, b), 0.0)
    a, b = (device.net_for_terminal(t).cluster_id for t in ("A", "B"))
    return _Device((a, b), device.parameter("R") + 2 * technology.r_end)


def _gate_problems(circuit: Any, at: dict[int, list[int]]) -> Iterator[str]:
    """Say how many switches have a gate that is not a net of its own."""
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
    """Go from a net through devices in series.

    Returns the devices, the net that they end on, and what is wrong with them.
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
    """Return the branches that a tile selects, of nominal values."""
    switched, branches = programming == "switch", []
    for side, chosen in (("p", tile.chosen_pos), ("n", tile.chosen_neg)):
        closed = closed_switches(chosen, bank.n)
        for i, j in np.argwhere(tile.present).tolist():
            for k, ohm in enumerate(bank.r_nominal.tolist()):
                end = f"out_{j}_{side}" if switched or closed[i, j, k] else OPEN
                branches.append(ExtractedBranch(f"in_{i}", end, ohm, switched))
    return branches


def _compare_names(nets: tuple[str, ...], tile: Tile) -> Iterator[str]:
    wanted = [f"in_{i}" for i in range(tile.n_word)]
    wanted += [f"out_{j}_{side}" for j in range(tile.n_bit) for side in "pn"]
    difference = Counter(nets)
    difference.subtract(wanted)
    for name, count in sorted(difference.items()):
        if count < 0:
            yield f"net {name} does not exist by itself"
        elif count > 0:
            yield f"net {name} should not be there" + (", lines are bridged" * ("," in name))


def _compare_branches(
    wanted: list[ExtractedBranch], found: tuple[ExtractedBranch, ...], tolerance: float
) -> Iterator[str]:
    """Say where the resistors between two lines differ in number, value or switches."""
    groups: dict[tuple, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for which, branches in enumerate((wanted, found)):
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
