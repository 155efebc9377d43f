"""The lines by which a netlist names a foundry's devices."""

from netlists.foundry.branch import FoundryBranch
from netlists.foundry.technologies import Device
from tinynets.files.checks import is_word

#: Nodes of the supplies and of the gates of closed and open switches, which a deck must hold.
RAILS = ("vdd", "vss", "gate_on", "gate_on_bar", "gate_off", "gate_off_bar")


def resistor_card(
    branch: FoundryBranch, name: str, nodes: tuple[str, str], *, length: float, m: float = 1.0
) -> str:
    """Return the line of a resistor between two nodes, its third terminal at vss.

    length: of the resistor [m].
    m: multiplicity, which may be a fraction: so many in parallel.

    Raises ValueError for a name that cannot stand in a netlist.
    """
    size = (branch.drawn_width, length)
    return f"X{_word(name)} {_nodes(*nodes)} vss {_device(branch.device, size, m)}"


def switch_cards(
    branch: FoundryBranch, name: str, nodes: tuple[str, str], *, closed: bool, m: float = 1.0
) -> list[str]:
    """Return the lines of a switch between two nodes; the rest as for a resistor."""
    process, state, (drain, source) = branch.process, "on" if closed else "off", nodes
    nmos = _device(process.nmos, (branch.w_nmos, process.nmos.length), m)
    cards = [f"X{_word(name)}_n {_nodes(drain)} gate_{state} {_nodes(source)} vss {nmos}"]
    if branch.switch == "gate":
        pmos = _device(process.pmos, (branch.w_pmos, process.pmos.length), m)
        cards.append(f"X{name}_p {drain} gate_{state}_bar {source} vdd {pmos}")
    return cards


def rails(branch: FoundryBranch) -> list[str]:
    """Return the sources of RAILS, about the signals' ground, node 0."""
    high, low = branch.process.supply - branch.ground, -branch.ground
    held = {"vdd": high, "vss": low, "gate_on": high, "gate_on_bar": low}
    held |= {"gate_off": low, "gate_off_bar": high}
    return [f"v{node} {node} 0 {float(volts)!r}" for node, volts in held.items()]


def _device(device: Device, size: tuple[float, float], m: float) -> str:
    width, length = (float(part / 1e-6 * device.micron) for part in size)
    return f"{device.subcircuit} w={width!r} l={length!r} m={float(m)!r}"


def _nodes(*nodes: str) -> str:
    return " ".join(_word(node) for node in nodes)


def _word(name: str) -> str:
    if not is_word(name):
        raise ValueError(f"{name!r} cannot stand in a netlist; use letters, digits, underscores")
    return name
