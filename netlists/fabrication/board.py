"""A demonstrator: a tile as a board of discrete resistors and analog switches.

Every branch is a 5 % E24 resistor and one switch of a quad 74HC4066; a chain of 74HC595 shift
registers holds the selection. Word lines, bit lines and control signals are on pin headers:
drivers and transimpedance amplifiers are separate equipment.

Source: data sheets of 74HC4066 and 74HC595 (SO14, SO16) for pins; IEC 60063 for values.
"""

import csv
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mapping.bank import ResistorBank
from mapping.bank.ladders import e_series
from mapping.tiling.tiles import Tile
from tinynets.files.drafts import added_files

#: Most branches on a board: 250 quad switches, about as many as fit on 300 mm × 300 mm.
MAX_BRANCHES = 1000

#: Most pins of a header.
MAX_PINS = 40

_SIDES = ("p", "n")

#: Pins of each switch of a 74HC4066: its two ends and its control.
_SWITCH_PINS = (("1", "2", "13"), ("4", "3", "5"), ("8", "9", "6"), ("11", "10", "12"))

#: Pins of the outputs QA … QH of a 74HC595.
_REGISTER_PINS = ("15", "1", "2", "3", "4", "5", "6", "7")


@dataclass(frozen=True)
class Part:
    """A component: its reference, order data and symbol, and the net on each of its pins."""

    ref: str
    value: str
    tolerance: str
    footprint: str
    symbol: str
    pins: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class Board:
    """All components of a demonstrator, and a name that is safe in file names."""

    name: str
    parts: tuple[Part, ...]

    @property
    def nets(self) -> dict[str, list[tuple[str, str]]]:
        """Pins (reference, number) on each net."""
        nets: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for part in self.parts:
            for pin, net in part.pins.items():
                nets[net].append((part.ref, pin))
        return dict(nets)


def tile_board(tile: Tile, bank: ResistorBank) -> Board:
    """Return the board of a tile; the cells of pruned weights have no parts.

    tile: its cells with devices get parts.
    bank: nominal values from E24, as in `ResistorBank.discrete_e24`.

    Nets have the names of the nodes in the tile's netlist: in_i, out_j_p, out_j_n.
    Raises ValueError for values that are not in E24, closed branches that the bank lacks, or more
    branches or lines than a board takes.
    """
    branches = list(_branches(tile, bank))
    _check(tile, bank, len(branches))
    parts = [*_headers(tile)]
    parts += [_resistor(b, word, ohm) for b, (word, _, ohm) in enumerate(branches)]
    n_quad, n_register = -(-len(branches) // 4), -(-len(branches) // 8)
    lines = [line for _, line, _ in branches]
    parts += [_quad(q, lines[4 * q : 4 * q + 4]) for q in range(n_quad)]
    parts += [_register(r, n_quad, n_register, len(branches)) for r in range(n_register)]
    parts += [_capacitor(c) for c in range(n_quad + n_register)]
    return Board(tile.name, tuple(parts))


def shift_bits(tile: Tile, bank: ResistorBank) -> np.ndarray:
    """Return the selection (n_bit,) bool in the order in which it is shifted in.

    The first bit travels farthest, to output QH of the last register. A pulse on RCLK then closes
    the switches whose bit is set.
    """
    bits = tile.closed(bank.n).ravel()
    return np.concatenate([bits, np.zeros(-len(bits) % 8, bool)])[::-1]


def write_board(board: Board, directory: str | Path) -> tuple[Path, Path]:
    """Write a KiCad netlist `<name>.net` and a bill of materials `<name>_bom.csv`.

    Returns both paths. The columns of the bill of materials are value, tolerance, package, symbol,
    count and references.
    """
    directory = Path(directory)
    netlist, bill = f"{board.name}.net", f"{board.name}_bom.csv"
    with added_files(directory) as draft:
        _write_netlist(board, draft / netlist)
        _write_bill(board, draft / bill)
    return directory / netlist, directory / bill


def _check(tile: Tile, bank: ResistorBank, n_branch: int) -> None:
    for ohm in bank.r_nominal.tolist():
        decade = 10.0 ** np.floor(np.log10(ohm) + 1e-9)
        if np.abs(e_series(24) * decade / ohm - 1).min() > 1e-6:
            raise ValueError(
                f"{ohm:g} ohm is not an E24 value; map the network on a bank of parts: set "
                'bank.ladder = "E24" in the run (in Python: ResistorBank.discrete_e24())'
            )
    tile.closed(bank.n)  # refuses branches that the bank does not have
    if not 0 < n_branch <= MAX_BRANCHES:
        raise ValueError(
            f"tile {tile.name} has {n_branch} branches; a board takes 1 … {MAX_BRANCHES}: use "
            "smaller tiles or fewer branches per bank, or prune more"
        )
    for kind, count in (("word", tile.n_word), ("bit", 2 * tile.n_bit)):
        if count >= MAX_PINS:
            raise ValueError(
                f"tile {tile.name} has {count} {kind} lines; a header takes {MAX_PINS - 1}, "
                "use smaller tiles"
            )


def _branches(tile: Tile, bank: ResistorBank) -> Iterator[tuple[str, str, float]]:
    """Yield word line, bit line and ohm of every branch, in the order of the shift registers."""
    for i, j in np.argwhere(tile.present).tolist():
        for side in _SIDES:
            for ohm in bank.r_nominal.tolist():
                yield f"in_{i}", f"out_{j}_{side}", ohm


def _headers(tile: Tile) -> Iterator[Part]:
    words = [f"in_{i}" for i in range(tile.n_word)]
    bits = [f"out_{j}_{side}" for j in range(tile.n_bit) for side in _SIDES]
    control = ["VCC", "GND", "SER", "SRCLK", "RCLK", "SRCLR_N", f"{_SERIAL}last"]
    for k, nets in enumerate(([*words, "GND"], [*bits, "GND"], control)):
        n = f"{len(nets):02d}"
        yield Part(
            f"J{k + 1}",
            f"1x{n} header",
            "",
            f"Connector_PinHeader_2.54mm:PinHeader_1x{n}_P2.54mm_Vertical",
            f"Connector_Generic:Conn_01x{n}",
            {str(pin + 1): net for pin, net in enumerate(nets)},
        )


def _resistor(b: int, word: str, ohm: float) -> Part:
    pins, footprint = {"1": word, "2": f"mid_{b}"}, "Resistor_SMD:R_0603_1608Metric"
    return Part(f"R{b + 1}", _value(ohm), "5%", footprint, "Device:R", pins)


def _value(ohm: float) -> str:
    """Return a resistance as it is printed in a bill of materials."""
    for unit, suffix in ((1e6, "M"), (1e3, "k")):
        if ohm >= unit * (1 - 1e-9):
            return f"{ohm / unit:.4g}{suffix}"
    return f"{ohm:.4g}"


def _quad(q: int, lines: list[str]) -> Part:
    """Return the switches of up to four branches; pins of unused switches are grounded."""
    pins = {"7": "GND", "14": "VCC"}
    for k, (a, b, control) in enumerate(_SWITCH_PINS):
        branch = 4 * q + k
        used = k < len(lines)
        pins[a] = f"mid_{branch}" if used else "GND"
        pins[b] = lines[k] if used else "GND"
        pins[control] = f"close_{branch}" if used else "GND"
    footprint = "Package_SO:SOIC-14_3.9x8.7mm_P1.27mm"
    return Part(f"U{q + 1}", "74HC4066D", "", footprint, "4xxx:4066", pins)


#: Prefix of the nets from one shift register to the next.
_SERIAL = "serial_"


def _register(r: int, n_quad: int, n_register: int, n_branch: int) -> Part:
    end = "last" if r == n_register - 1 else str(r + 1)
    pins = {"8": "GND", "16": "VCC", "13": "GND", "10": "SRCLR_N", "11": "SRCLK", "12": "RCLK"}
    pins |= {"14": f"{_SERIAL}{r}" if r else "SER", "9": f"{_SERIAL}{end}"}
    for k, pin in enumerate(_REGISTER_PINS):
        if 8 * r + k < n_branch:
            pins[pin] = f"close_{8 * r + k}"
    footprint = "Package_SO:SOIC-16_3.9x9.9mm_P1.27mm"
    return Part(f"U{n_quad + r + 1}", "74HC595D", "", footprint, "74xx:74HC595", pins)


def _capacitor(c: int) -> Part:
    """Return the decoupling capacitor of a chip."""
    pins = {"1": "VCC", "2": "GND"}
    return Part(f"C{c + 1}", "100n", "10%", "Capacitor_SMD:C_0603_1608Metric", "Device:C", pins)


def _write_netlist(board: Board, path: Path) -> None:
    lines = ['(export (version "E")', f'  (design (source "{board.name}") (tool "crossbar-sim"))']
    lines += ["  (components", *(_component(board, part) for part in board.parts), "  )", "  (nets"]
    for code, (net, pins) in enumerate(board.nets.items(), 1):
        lines.append(f'    (net (code "{code}") (name "{net}")')
        lines += [f'      (node (ref "{ref}") (pin "{pin}"))' for ref, pin in pins]
        lines.append("    )")
    path.write_text("\n".join([*lines, "  )", ")", ""]), encoding="utf-8")


def _component(board: Board, part: Part) -> str:
    """Return the text of a component; its stamp is constant, so that a board can be updated."""
    library, name = part.symbol.split(":")
    stamp = uuid.uuid5(uuid.NAMESPACE_OID, f"{board.name} {part.ref}")
    return (
        f'    (comp (ref "{part.ref}") (value "{part.value}") (footprint "{part.footprint}")\n'
        f'      (fields (field (name "Tolerance") "{part.tolerance}"))\n'
        f'      (libsource (lib "{library}") (part "{name}") (description ""))\n'
        f'      (sheetpath (names "/") (tstamps "/")) (tstamps "{stamp}"))'
    )


def _write_bill(board: Board, path: Path) -> None:
    groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for part in board.parts:
        package = part.footprint.split(":")[1]
        groups[part.value, part.tolerance, package, part.symbol].append(part.ref)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("value", "tolerance", "package", "symbol", "count", "references"))
        for key, refs in groups.items():
            table.writerow((*key, len(refs), " ".join(refs)))
