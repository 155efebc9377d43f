"""Names that go into a netlist: none can add a card, none stands for two things."""

from netlists.circuit.circuit import Circuit
from tinynets.files.checks import is_word


def checked_names(circuit: Circuit) -> tuple[list[str], list[str]]:
    """Return the names of a circuit's nodes and branches.

    Raises ValueError for a name that is not letters, digits and underscores (SPICE would take a
    newline as the next card), a branch that does not start with R, or two names that SPICE, which
    ignores case, cannot tell apart.
    """
    nodes, branches = circuit.names
    if circuit.grid:
        return nodes, branches  # numbered by us
    for kind, names in (("node", nodes), ("branch", branches)):
        for name in names:
            if not is_word(name) or (kind == "branch" and name[0] not in "Rr"):
                raise ValueError(
                    f"{kind} name {name!r} is not safe in a netlist; use letters, digits and "
                    "underscores, and an R in front of a branch"
                )
        if len({name.lower() for name in names}) != len(names):
            raise ValueError(f"{kind} names must differ, ignoring case")
    return nodes, branches
