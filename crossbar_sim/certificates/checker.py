"""Accept or refuse a certificate of output currents; needs Python and numpy, and nothing else here.

Run: python checker.py FILE [--exact]

A certificate states a circuit (resistors between nodes, nodes held at voltages), voltages that
somebody computed for it, a bound on their error at each node, and an interval for the current out
of each bit line. It is accepted if all of the following can be shown, whoever computed it.

1. The circuit is well formed: every held node is held once, the line of an output has no other
   terminal on it.
2. Let A v = b be Kirchhoff's current law at the free nodes. Off its diagonal A has no entry above
   zero, so one z > 0 with A z > 0 proves that A is invertible and that no entry of its inverse is
   below zero (it is a nonsingular M-matrix). If also A z >= |b - A v| at every node, then every
   voltage is within z of the exact one.
3. The current that leaves a line through its output is the sum of the currents that enter the line
   from nodes outside. With each voltage within z of the exact one, that sum is in the interval.

Sums are bounded for rounding to nearest in IEEE double precision, in any order: a sum of n terms,
each with relative error 4 u, is off by at most 1.01 u (n + 8) times the sum of their magnitudes
(Higham, "Accuracy and stability of numerical algorithms", 2002, section 4.2), with u = 2^-53.
With --exact, everything is computed in rational numbers instead; that is slow.
"""

import argparse
import sys
import zipfile
from fractions import Fraction

import numpy as np

VERSION = 1
U = 2.0**-53
#: Arrays of a certificate and their kinds: i of whole numbers, f of doubles.
ARRAYS = {
    "version": "i",
    "tail": "i",
    "head": "i",
    "ohm": "f",
    "inputs": "i",
    "outputs": "i",
    "r_tia": "f",
    "t": "f",
    "volts": "f",
    "bound": "f",
    "line": "i",
    "low": "f",
    "high": "f",
}


class Refused(Exception):
    """A certificate that proves nothing; the text says why."""


def read(path):
    """Return the arrays of a file by name; nothing in it is executed."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            demand(names == set(ARRAYS), "its arrays are not those of a certificate")
            given = {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise Refused(f"it cannot be read ({error})") from error
    for name, kind in ARRAYS.items():
        demand(given[name].dtype.kind == kind, f"{name} is of another type")
        if kind == "f":
            demand(given[name].dtype == np.float64, f"{name} is not of doubles")
            demand(bool(np.isfinite(given[name]).all()), f"{name} is not finite")
    return given


def demand(condition, reason):
    """Refuse the certificate unless the condition holds."""
    if not condition:
        raise Refused(reason)


def check_shapes(c):
    """Refuse arrays whose sizes do not fit each other."""
    demand(c["version"].shape == () and int(c["version"]) == VERSION, "it is of another version")
    demand(c["r_tia"].shape == () and float(c["r_tia"]) >= 0, "r_tia is not a resistance")
    for name in ("tail", "head", "ohm", "inputs", "outputs", "t", "bound", "line"):
        demand(c[name].ndim == 1, f"{name} is not a list")
    demand(c["volts"].ndim == c["low"].ndim == c["high"].ndim == 2, "a table is not a table")
    n_branch, n_node, n_line = len(c["ohm"]), len(c["bound"]), len(c["outputs"])
    demand(len(c["tail"]) == len(c["head"]) == n_branch, "branches have two ends and one value")
    demand(c["volts"].shape[1] == n_node == len(c["line"]) and n_node > 0, "nodes are missing")
    claims = (len(c["volts"]), n_line)
    demand(c["low"].shape == c["high"].shape == claims and len(c["t"]) == n_line, "claims missing")


def check_circuit(c):
    """Refuse a circuit that is not well formed; return which nodes are free."""
    n_node = len(c["bound"])
    for name in ("tail", "head", "inputs", "outputs"):
        demand(
            ((c[name] >= 0) & (c[name] < n_node)).all(), f"{name} names a node that is not there"
        )
    demand((c["tail"] != c["head"]).all(), "a branch ends where it starts")
    demand((c["ohm"] > 0).all(), "a resistance is not above zero")
    terminals = np.concatenate([[0], c["inputs"], c["outputs"]])
    demand(len(np.unique(terminals)) == len(terminals), "two terminals are one node")
    free = np.ones(n_node, dtype=bool)
    free[0], free[c["inputs"]] = False, False
    demand((c["volts"][:, 0] == 0).all(), "ground is not at 0 V")
    if c["r_tia"] == 0:
        free[c["outputs"]] = False
        demand((c["volts"][:, c["outputs"]] == c["t"]).all(), "an output is not at its voltage")
    demand((c["bound"][~free] == 0).all(), "a held voltage has an error")
    demand((c["bound"][free] > 0).all(), "a bound is not above zero")
    own = np.arange(len(c["outputs"]))
    demand((c["line"][c["outputs"]] == own).all(), "an output is not on its line")
    demand((c["line"][[0, *c["inputs"]]] == -1).all(), "a line has another terminal on it")
    demand(((c["line"] >= -1) & (c["line"] < len(own))).all(), "a line is not there")
    return free


def sums(place, term, n):
    """Return sums of terms by place (n,), and by how much rounding may have changed them."""
    size = np.bincount(place, np.abs(term), n)
    count = np.bincount(place, minlength=n)
    return np.bincount(place, term, n), 1.01 * U * (count + 8) * size + 1e-300


def net_currents(c, volts, t):
    """Return the net current into every node, and by how much rounding may have changed it."""
    along = (volts[c["head"]] - volts[c["tail"]]) / c["ohm"]
    places, terms = [c["tail"], c["head"]], [along, -along]
    if c["r_tia"] > 0:
        places.append(c["outputs"])
        terms.append((t - volts[c["outputs"]]) / c["r_tia"])
    return sums(np.concatenate(places), np.concatenate(terms), len(volts))


def crossing(c):
    """Return line, inner node, outer node and resistance of every branch that enters a line."""
    first, second = c["line"][c["tail"]], c["line"][c["head"]]
    a, b = ((line >= 0) & (first != second) for line in (first, second))
    line = np.concatenate([first[a], second[b]])
    inner = np.concatenate([c["tail"][a], c["head"][b]])
    outer = np.concatenate([c["head"][a], c["tail"][b]])
    return line, inner, outer, np.concatenate([c["ohm"][a], c["ohm"][b]])


def check_rounded(c, free):
    """Check errors and intervals in double precision, with bounds on every rounding."""
    out, rounding = net_currents(c, c["bound"], np.zeros(len(c["t"])))
    least = (-out - rounding)[free]
    demand((least > 0).all(), "the bound does not prove that the circuit has one solution")
    line, inner, outer, ohm = crossing(c)
    off = np.bincount(line, (c["bound"][inner] + c["bound"][outer]) / ohm, len(c["t"])) * 1.0000001
    for k, volts in enumerate(c["volts"]):
        net, rounding = net_currents(c, volts, c["t"])
        demand(
            ((np.abs(net) + rounding)[free] * (1 + 4 * U) <= least).all(),
            f"Kirchhoff's current law is violated by more than the bound allows, in vector {k}",
        )
        current, rounding = sums(line, (volts[outer] - volts[inner]) / ohm, len(c["t"]))
        half = (rounding + off) * (1 + 4 * U)
        low, high = np.nextafter(current - half, -np.inf), np.nextafter(current + half, np.inf)
        inside = (c["low"][k] <= low) & (high <= c["high"][k])
        demand(inside.all(), f"an interval of vector {k} is too narrow for what is proved")


def exact_currents(c, volts, t):
    """Return the net current into every node in rational numbers."""
    net = [Fraction(0)] * len(volts)
    for tail, head, ohm in zip(c["tail"].tolist(), c["head"].tolist(), c["ohm"].tolist()):
        current = (volts[head] - volts[tail]) / Fraction(ohm)
        net[tail] += current
        net[head] -= current
    if c["r_tia"] > 0:
        for k, node in enumerate(c["outputs"].tolist()):
            net[node] += (t[k] - volts[node]) / Fraction(float(c["r_tia"]))
    return net


def check_exact(c, free):
    """Check errors and intervals in rational numbers."""
    nodes = np.flatnonzero(free).tolist()
    bound = [Fraction(x) for x in c["bound"].tolist()]
    t = [Fraction(x) for x in c["t"].tolist()]
    least = [-x for x in exact_currents(c, bound, [Fraction(0)] * len(t))]
    demand(all(least[n] > 0 for n in nodes), "the bound does not prove one solution")
    branches = [list(map(float, x)) if x.dtype.kind == "f" else x.tolist() for x in crossing(c)]
    for k, row in enumerate(c["volts"].tolist()):
        volts = [Fraction(x) for x in row]
        net = exact_currents(c, volts, t)
        demand(all(abs(net[n]) <= least[n] for n in nodes), f"Kirchhoff is violated in vector {k}")
        current, off = [Fraction(0)] * len(t), [Fraction(0)] * len(t)
        for line, inner, outer, ohm in zip(*branches):
            current[line] += (volts[outer] - volts[inner]) / Fraction(ohm)
            off[line] += (bound[outer] + bound[inner]) / Fraction(ohm)
        for low, high, i, e in zip(c["low"][k].tolist(), c["high"][k].tolist(), current, off):
            demand(low <= i - e and i + e <= high, f"an interval of vector {k} is too narrow")


def check(path, *, exact=False):
    """Return the arrays of a certificate that is accepted; raise Refused for any other."""
    c = read(path)
    check_shapes(c)
    free = check_circuit(c)
    with np.errstate(over="ignore", invalid="ignore"):
        (check_exact if exact else check_rounded)(c, free)
    return c


def main():
    """Check the file that is named; exit with 1 if it is refused."""
    parser = argparse.ArgumentParser(description="Accept or refuse a certificate.")
    parser.add_argument("file", help="certificate (.npz)")
    parser.add_argument("--exact", action="store_true", help="compute in rational numbers")
    given = parser.parse_args()
    try:
        c = check(given.file, exact=given.exact)
    except Refused as error:
        print(f"refused: {error}")
        sys.exit(1)
    largest = max(np.abs(c["low"]).max(initial=0.0), np.abs(c["high"]).max(initial=0.0))
    widest = (c["high"] - c["low"]).max(initial=0.0) / (largest or 1.0)
    print(f"accepted: {c['low'].size:,} currents, each to {widest:.1e} of the largest or better")


if __name__ == "__main__":
    main()
