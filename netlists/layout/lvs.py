"""Layout versus schematic: are the branches extracted from mask data those that were selected?

KLayout extracts devices and nets from the polygons alone. Every resistor is then followed from its
word line, strip by strip and through its switch, to its bit line, and compared with the tile: first
by the lines that it joins, then by its place, since branches may have equal values.
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
from netlists.layout.floorplan import Branch, Programming, plan_cell, strip_centres
from netlists.layout.technology import DBU, Technology, klayout, to_dbu

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
    """A branch extracted from a layout, or one that it should have; lengths in database units.

    start: name of its word line.
    end: name of its bit line, or OPEN.
    ohm: resistance [ohm].
    x: centre of the strip at its word line.
    strips: width and length of the body of each strip, from its word line on.
    switch: width and length of the channel of its switch; None without one.
    name: what it is in the tile, in words.
    """

    start: str
    end: str
    ohm: float
    x: int
    strips: tuple[tuple[int, int], ...]
    switch: tuple[int, int] | None
    name: str = ""

    @property
    def switched(self) -> bool:
        """True if it contains a switch."""
        return self.switch is not None


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

    With switches, every branch must have one, of the size stated; with vias, only closed branches
    may reach a bit line. Where the technology states lengths, each resistor must have its own.
    Raises ImportError without KLayout and ValueError for a layout without exactly one top cell.
    """
    drawn = extract_branches(layout, technology)
    targets = _targets(tile, bank, technology, programming)
    problems = [*drawn.problems, *_compare_names(drawn.nets, tile)]
    problems += _compare_branches(targets, drawn.branches, tolerance) or _compare_places(
        targets, drawn.branches, tolerance, sizes=bool(technology.lengths)
    )
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
    """A device: its two nets, its centre, its width and length, and whether it is a switch.

    Lengths are in database units; ohm is the resistance of a strip with its ends [ohm].
    """

    ends: tuple[int, int]
    x: int
    size: tuple[int, int]
    ohm: float
    is_switch: bool


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
                branches.append(_branch(parts, names[net], names.get(end, OPEN)))
    lost = len(devices) - len(used)
    if lost:
        problems.append(f"{lost} devices are on no branch of a word line")
    n_switch = sum(device.is_switch for device in devices)
    n_strip = len(devices) - n_switch
    return Extraction(
        tuple(sorted(names.values())), tuple(branches), tuple(problems), n_strip, n_switch
    )


def _device(device: Any, technology: Technology) -> _Device:
    is_switch = device.device_class().name == "switch"
    terminals = "SD" if is_switch else "AB"
    a, b = (device.net_for_terminal(terminal).cluster_id for terminal in terminals)
    width, length = (device.parameter(name) * 1e-6 for name in "WL")
    ohm = 0.0 if is_switch else technology.ohm(width, length)
    size = (round(width / DBU), round(length / DBU))
    return _Device((a, b), round(device.trans.disp.x * 1e-6 / DBU), size, ohm, is_switch)


def _branch(parts: list[_Device], start: str, end: str) -> ExtractedBranch:
    """Return the branch of devices in series between two lines."""
    switches = [part.size for part in parts if part.is_switch]
    strips = tuple(part.size for part in parts if not part.is_switch)
    # Two switches in series are no branch of any tile: no target has their size.
    switch = (sum(size[0] for size in switches), sum(size[1] for size in switches))
    return ExtractedBranch(
        start, end, sum(p.ohm for p in parts), parts[0].x, strips, switch if switches else None
    )


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


def _targets(
    tile: Tile, bank: ResistorBank, technology: Technology, programming: Programming
) -> list[ExtractedBranch]:
    """Return the branches that the layout of a tile should have, with nominal values."""
    plan = plan_cell(bank, technology, programming)
    drawn = technology.transistor
    switched, found = programming == "switch", []
    switch = (to_dbu(drawn.width), to_dbu(drawn.length)) if switched else None
    for side, chosen, branches in zip("pn", (tile.chosen_pos, tile.chosen_neg), plan.branches):
        closed = closed_switches(chosen, bank.n)
        parts = [_drawn(branch, technology) for branch in branches]
        for i, j in np.argwhere(tile.present).tolist():
            for k, (ohm, (x, strips)) in enumerate(zip(bank.r_nominal.tolist(), parts)):
                line = f"out_{j}_{side}"
                end = line if switched or closed[i, j, k] else OPEN
                place = j * plan.width + x
                name = f"branch {k} from in_{i} to {line}"
                found.append(ExtractedBranch(f"in_{i}", end, ohm, place, strips, switch, name))
    return found


def _drawn(branch: Branch, technology: Technology) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return where the first strip of a branch is in its cell, and the sizes of all its strips."""
    size = (to_dbu(technology.film.width), branch.length)
    return strip_centres(branch, technology)[0], (size,) * branch.n_strip


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
) -> list[str]:
    """Return where the resistors between two lines differ in number, value or switches."""
    groups: dict[tuple, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for which, branches in enumerate((targets, extracted)):
        for branch in branches:
            groups[branch.start, branch.end, branch.switched][which].append(branch.ohm)
    problems = []
    for (start, end, switched), (ideal, drawn) in sorted(groups.items()):
        place = f"{start} to {end}" + (" through switches" if switched else "")
        if len(ideal) != len(drawn):
            problems.append(f"{place}: {len(ideal)} resistors expected; got {len(drawn)}")
            continue
        for a, b in zip(sorted(ideal), sorted(drawn)):
            if abs(b - a) > tolerance * abs(a):
                problems.append(f"{place}: {a:g} ohm expected; got {b:g} ohm")
    return problems


def _compare_places(
    targets: list[ExtractedBranch],
    extracted: tuple[ExtractedBranch, ...],
    tolerance: float,
    *,
    sizes: bool,
) -> list[str]:
    """Return where a branch, known by its place, is not the one that belongs there.

    sizes: whether the sizes of its strips are stated.
    """
    at = {(branch.start, branch.x): branch for branch in extracted}
    problems = []
    for target in targets:
        drawn = at.get((target.start, target.x))
        if drawn is None:
            problems.append(f"{target.name}: no resistor begins at its place")
        elif drawn.end != target.end:
            problems.append(f"{target.name}: must end at {target.end}; got {drawn.end}")
        elif abs(drawn.ohm - target.ohm) > tolerance * target.ohm:
            problems.append(f"{target.name}: {target.ohm:g} ohm expected; got {drawn.ohm:g} ohm")
        elif sizes and drawn.strips != target.strips:
            problems.append(
                f"{target.name}: strips of {_sizes(target.strips)} expected; got "
                f"{_sizes(drawn.strips)}"
            )
        elif drawn.switch and target.switch and drawn.switch != target.switch:
            problems.append(
                f"{target.name}: a switch of {_sizes((target.switch,))} expected; got "
                f"{_sizes((drawn.switch,))}"
            )
    return problems


def _sizes(parts: tuple[tuple[int, int], ...]) -> str:
    """Return widths and lengths [database units] as text."""
    return ", ".join(f"{w * DBU * 1e6:g} × {h * DBU * 1e6:g} um" for w, h in parts)
