"""The difference between a real switch and the resistor r_on or r_off that models it.

ngspice sweeps a branch with a transmission gate of two MOS transistors over the voltages in use;
the result is compared with the same branch with a linear switch.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossbar_sim.ngspice.process import Job
from crossbar_sim.ngspice.worker import NgspiceWorker
from mapping.bank.checks import T_REFERENCE

#: Textbook level-1 transistors of a 1.8 V process. Level 1 does not conduct below the threshold, so
#: an open switch of these is perfect.
DEFAULT_MODELS = (
    ".model switch_n nmos (level=1 vto=0.45 kp=270u gamma=0.4 phi=0.8 lambda=0.05)\n"
    ".model switch_p pmos (level=1 vto=-0.45 kp=70u gamma=0.4 phi=0.8 lambda=0.05)\n"
)
#: A model card: name, type and parameters, which are plain words, numbers and signs.
_CARD = re.compile(
    r"\.model\s+([a-z_][\w.]*)\s+(nmos|pmos)\b[\s()\w.=+\-]*", re.IGNORECASE | re.ASCII
)
_LARGEST_FILE = 1_000_000


@dataclass(frozen=True)
class Gate:
    """A transmission gate: an NMOS and a PMOS transistor in parallel.

    w_n, w_p: widths of the NMOS and the PMOS transistor [m].
    length: of both [m].
    v_low, v_high: the supplies, between which the control signals swing [V]; the virtual ground is
        at 0 V between them.
    models: text of two model cards, checked by `check_models`; `read_models` reads a file.
    """

    w_n: float = 2e-6
    w_p: float = 6e-6
    length: float = 0.18e-6
    v_low: float = -0.9
    v_high: float = 0.9
    models: str = DEFAULT_MODELS

    def __post_init__(self) -> None:
        for name in ("w_n", "w_p", "length"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be > 0 m and < 1 m; got {getattr(self, name)}")
        if not -np.inf < self.v_low < self.v_high < np.inf:
            raise ValueError(f"v_low must be below v_high; got {self.v_low} and {self.v_high}")
        check_models(self.models)

    def lines(self, node_a: str, node_b: str, *, closed: bool) -> list[str]:
        """Return model cards, supplies and the two transistors between two nodes."""
        names = check_models(self.models)
        on, off = ("vdd", "vss") if closed else ("vss", "vdd")
        size = f"l={self.length!r}"
        return [
            *_cards(self.models),  # not the text itself, since ngspice executes comments of *#
            f"vhigh vdd 0 {float(self.v_high)!r}",
            f"vlow vss 0 {float(self.v_low)!r}",
            f"mn {node_a} {on} {node_b} vss {names['nmos']} w={self.w_n!r} {size}",
            f"mp {node_a} {off} {node_b} vdd {names['pmos']} w={self.w_p!r} {size}",
        ]


@dataclass(frozen=True)
class SwitchCheck:
    """A branch with a real switch over the voltages in use.

    v: voltage across the branch (n_point,) [V].
    i_closed, i_open: current through it (n_point,) [A].
    r_on, r_off: of the best linear switch, by least squares of the current [ohm].
    error: largest deviation of the closed branch's current from that of the linear switch, as a
        fraction of the largest current.
    """

    v: np.ndarray
    i_closed: np.ndarray
    i_open: np.ndarray
    r_on: float
    r_off: float
    error: float


def check_switch(
    gate: Gate,
    r_branch: float,
    v_read: float,
    *,
    worker: NgspiceWorker,
    temperature: float = T_REFERENCE,
    n_point: int = 41,
) -> SwitchCheck:
    """Sweep a branch from -v_read to v_read in ngspice, its switch closed and then open.

    gate: the switch, at the end of the virtual ground.
    r_branch: the resistor in series [ohm].
    v_read: largest voltage across the branch [V].
    temperature: of the transistors [K].
    n_point: number of voltages.

    ngspice ignores model parameters that it does not know. Raises ValueError for values that are
    not positive and finite, NgspiceError if ngspice cannot be trusted.
    """
    for name, value in (("r_branch", r_branch), ("v_read", v_read), ("temperature", temperature)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be > 0 and finite; got {value}")
    v = np.linspace(-v_read, v_read, n_point)
    i_closed, i_open = (
        worker.run(_job(gate, r_branch, v, temperature, closed)).values[0]
        for closed in (True, False)
    )
    r_closed, r_open = _ohm(v, i_closed), _ohm(v, i_open)
    error = float(np.abs(i_closed - v / r_closed).max() / np.abs(i_closed).max())
    return SwitchCheck(v, i_closed, i_open, r_closed - r_branch, r_open - r_branch, error)


def _ohm(v: np.ndarray, current: np.ndarray) -> float:
    """Return the resistance [ohm] that fits best; inf if no current flows."""
    g = float(v @ current / (v @ v))
    return 1.0 / g if g > 0 else np.inf


def _job(gate: Gate, r_branch: float, v: np.ndarray, temperature: float, closed: bool) -> Job:
    step = float(v[1] - v[0])
    lines = [
        "* a branch and its switch",
        *gate.lines("mid", "end", closed=closed),
        "vread top 0 0",
        f"rbranch top mid {float(r_branch)!r}",
        "vend end 0 0",
        ".options klu gmin=1e-18 abstol=1e-18 reltol=1e-9",
        f".temp {float(temperature) - 273.15!r}",
        f".dc vread {float(v[0])!r} {float(v[-1]) + step / 2!r} {step!r}",
        ".save i(vend)",
        ".end",
    ]
    return Job("\n".join(lines), "dc", ("vend#branch",), len(v))


def read_models(path: str | Path) -> str:
    """Return the checked text of a file with two model cards, an nmos and a pmos.

    Raises ValueError if it holds anything else, OSError if it cannot be read.
    """
    path = Path(path)
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(
            f"{path} must have at most {_LARGEST_FILE} bytes; give a file of two model cards"
        )
    text = path.read_text(encoding="utf-8", errors="replace")
    check_models(text)
    return text


def check_models(text: str) -> dict[str, str]:
    """Return the names of the nmos and the pmos model in a text of model cards.

    Only these two cards, comments and empty lines are allowed, with words, numbers and signs as
    parameters, since ngspice would execute any other card or command. Raises ValueError that quotes
    the first line that is not allowed.
    """
    names: dict[str, str] = {}
    for card in _cards(text):
        match = _CARD.fullmatch(card)
        if not match:
            raise ValueError(f"only .model cards of nmos or pmos are allowed; got {card[:80]!r}")
        name, kind = match[1], match[2].lower()
        if kind in names:
            raise ValueError(f"expected one {kind} model; got {names[kind]!r} and {name!r}")
        names[kind] = name
    if set(names) != {"nmos", "pmos"}:
        raise ValueError(f"expected one nmos and one pmos model; got {sorted(names) or 'none'}")
    if names["nmos"].lower() == names["pmos"].lower():
        raise ValueError(f"the two models need different names; got {names['nmos']!r} for both")
    return names


def _cards(text: str) -> list[str]:
    """Return the cards of a text, with continuation lines joined, without comments."""
    cards: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("*"):
            continue
        if line.startswith("+") and cards:
            cards[-1] += " " + line[1:].strip()
        else:
            cards.append(line)
    return cards
