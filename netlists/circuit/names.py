"""Checks of the names in a netlist: no name can add a card, and none is ambiguous."""

from netlists.circuit.circuit import Circuit
from tinynets.files.checks import is_word


def checked_names(circuit: Circuit) -> tuple[list[str], list[str]]:
    """Return the names of a circuit's nodes and branches.

    Raises ValueError for a name with anything but letters, digits and underscores (a newline would
    start another card), a branch whose name does not start with R, or names that differ only in
    case, which SPICE ignores.
    """
    nodes, branches = circuit.names
    if circuit.grid:
        return nodes, branches  # made by this package
    for kind, names in (("node", nodes), ("branch", branches)):
        for name in names:
            if not is_word(name) or (kind == "branch" and name[0] not in "Rr"):
                raise ValueError(
                    f"{kind} name {name!r} is not safe in a netlist; use letters, digits and "
                    "underscores, and start the name of a branch with R"
                )
        if len({name.lower() for name in names}) != len(names):
            raise ValueError(f"{kind} names must differ, ignoring case")
    return nodes, branches
