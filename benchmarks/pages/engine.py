"""Sections on the engine: its peers, transfer matrices, derivatives, nonlinear cells, proofs."""

from benchmarks.pages.tables import load, table


def circuits() -> str:
    """Return the section on the speed of the engine and of ngspice."""
    kept, methods = load("circuits"), load("ngspice_methods")
    matrices = {row["n"]: row for row in kept["matrix"]}
    rows = [
        [
            f"{row['n']} × {row['n']}",
            f"{1e3 * row['ours_s']:.3g} ms",
            f"{row['ratio']:.0f} × ({row['error']:.0e})",
            f"{matrices[row['n']]['ours_s']:.2g} s",
            f"{matrices[row['n']]['ratio']:.0f} ×",
        ]
        for row in kept["badcrossbar"]
    ]
    head = ["array", "one vector", "badcrossbar", "transfer matrix", "SuperLU"]
    batch, units = kept["batch"], kept["superposed"]
    sweeps = {row["n"]: row for row in methods["vectors"]}
    sizes = ", ".join(
        f"{row['alter_over_sweep']:.1f} × and {row['rebuild_over_sweep']:.0f} × at {n}"
        for n, row in sweeps.items()
    )
    return (
        "The engine compared with its peers on new arrays with 1 ohm wires, in processor time "
        "(`benchmarks/circuits/peers.py`). The column badcrossbar gives its time for one vector, as a multiple of the "
        "engine's, and how far the currents differ. The column SuperLU gives the time of one sparse factorisation "
        "and a solve for each word line, as a multiple of the engine's time for the transfer matrix:\n\n"
        + table(head, rows)
        + f"\n\n{_crosssim(kept['crosssim'])}\n\nFor {batch['vectors']:,} vectors at {batch['n']} × "
        f"{batch['n']}, the engine computes a transfer matrix and then a product. That is "
        f"{units['ratio']:,.0f} × faster than ngspice with the same superposition ({units['n']} unit vectors "
        f"and a product, {units['ngspice_s_scaled']:.0f} s). It is {batch['ratio']:,.0f} × faster than "
        f"ngspice's sweep over every vector ({batch['ngspice_s_scaled']:.0f} s); this ratio grows "
        f"with the number of vectors. ngspice solved {batch['ngspice_vectors_solved']} vectors and "
        f"its time was scaled. The results differ by {max(batch['error'], units['error']):.0e}. A 1024 × 1024 array takes "
        f"{kept['large']['cpu_s']:.2g} s and {kept['large']['peak'] / 1e6:.0f} MB. "
        "Within ngspice, one sweep over all vectors is faster than "
        "`alter` and `op` for each vector, and than a new netlist for each vector, by "
        f"{sizes} lines (`benchmarks/circuits/ngspice_methods.py`)."
    )


def _crosssim(rows: list[dict]) -> str:
    """Return the table of CrossSim, an iterative solver that stops at a tolerance."""
    cells = [
        [
            f"{row['n']} × {row['n']}",
            f"{row['tolerance']:.0e}",
            f"{row['crosssim_error']:.0e}",
            f"{1e3 * row['crosssim_s']:.3g} ms",
            f"{1e3 * row['ours_s']:.3g} ms",
            f"{row['ratio']:.3g} ×",
        ]
        for row in rows
    ]
    head = ["array", "tolerance", "difference", "CrossSim", "engine, exact", "ratio"]
    return (
        "CrossSim 3.2, one vector, measured "
        f"{rows[0]['measured']}. Its iteration is warm: it reuses the relaxation factor of an earlier "
        "run:\n\n" + table(head, cells)
    )


def transfer() -> str:
    """Return the section on transfer matrices."""
    rows = []
    for row in load("transfer")["arrays"]:
        seconds = {way: f"{1e3 * time:.3g}" for way, time in row["seconds"].items()}
        ways = [seconds.get(way, "–") for way in ("columns", "devices", "rows", "vectors")]
        size = f"{row['n_word']} × {row['n_bit']} pairs"
        rows.append([size, f"{row['share']:.0%}", *ways, row["chosen"]])
    head = [
        "array",
        "cells left",
        "by columns",
        "by devices",
        "by rows",
        "vector by vector",
        "chosen",
    ]
    return (
        "Transfer matrices of arrays with wires by each elimination, in milliseconds of one core "
        "(`benchmarks/circuits/transfer.py`):\n\n" + table(head, rows)
    )


def certified() -> str:
    """Return the section on certified currents."""
    rows = [
        [
            name,
            str(row["tiles"]),
            f"{row['currents']:,}",
            f"{row['width']['50 %']:.0e}",
            f"{row['width']['95 %']:.0e}",
            f"{row['narrower_than_1e-9']:.0%}",
            f"{row['certify_s'] / row['solve_s']:.1f} ×",
            f"{row['check_s'] / row['solve_s']:.1f} ×",
        ]
        for name, row in load("certificates")["sets"].items()
    ]
    head = [
        "tiles",
        "number",
        "currents",
        "width, median",
        "95 %",
        "below 1e-9",
        "to certify",
        "to check",
    ]
    return (
        "Intervals that provably hold the exact output currents, as a fraction of the tile's largest, and what they "
        "cost beside the engine's solution; the checker accepted all of them "
        "(`benchmarks/circuits/certificates.py`). The random arrays have cells over five decades and wires up to "
        "1 Mohm a segment, whose currents lie many decades below what flows in the wires:\n\n"
        + table(head, rows)
    )


def derivatives() -> str:
    """Return the section on derivatives through the circuit."""
    kept = load("gradients")
    each = ", ".join(
        f"{row['both_s'] / row['forward_s']:.1f} × at {row['n']} × {row['n']} pairs"
        for row in kept["rows"]
    )
    return (
        f"Outputs with their derivatives by every cell, input, wire and amplifier, for {kept['n_vector']} vectors, take "
        f"as long as the outputs alone times {each} (`benchmarks/circuits/gradients.py`).\n\n"
        "Many arrays of one shape in one call, against a call for each, on one thread of a CPU. Calls one after another are what "
        "a GPU would wait for; none was at hand, so that nothing is known of it. On a CPU large arrays gain nothing: there the "
        f"work is the solutions themselves.\n\n{_many(kept)}"
    )


def _many(kept: dict) -> str:
    """Return the table of arrays one by one and at once."""
    ways = ("alone_forward_s", "at_once_forward_s", "alone_both_s", "at_once_both_s")
    parts = [(f"{r['n_array']} of {r['n']} × {r['n']} pairs", r) for r in kept["many"]]
    parts += [
        (
            f"LeNet-5 on {r['n_tile']} tiles of at most {r['side']} × {r['side']} pairs, {r['n_call']} calls, with the "
            "selection of its cells",
            r,
        )
        for r in kept["lenet"]
    ]
    head = [
        "arrays",
        "outputs, one by one [ms]",
        "at once [ms]",
        "with derivatives, one by one [ms]",
        "at once [ms]",
    ]
    return table(head, [[what, *(f"{1e3 * row[way]:.0f}" for way in ways)] for what, row in parts])


def nonlinear() -> str:
    """Return the section on arrays of nonlinear branches."""
    kept = load("nonlinear")
    small, large = kept["rows"][-1], kept["large"]
    errors = ", ".join(f"{error:.0e} ({degree})" for degree, error in kept["errors"].items())
    return (
        f"Nonlinear branches, resistors in series with transistors: {kept['n_vector']} vectors on {small['n']} × "
        f"{small['n']} pairs of banks take {1e3 * small['engine_s']:.2g} ms of one core, and ngspice on the same "
        f"polynomials {small['ngspice_s']:.2g} s, which is {small['ratio']:.0f} × as long; the currents differ by "
        f"{small['difference']:.0e}. With ngspice's own tolerances it is {small['rough_ngspice_s'] / small['engine_s']:.0f} × "
        f"as long, and the difference {small['rough_difference']:.0e}. At {large['n']} × {large['n']} pairs the engine takes "
        f"{large['engine_s']:.2g} s. The polynomials of a degree are off from the branches' conductance by these parts "
        f"of the largest: {errors} (`benchmarks/circuits/nonlinear.py`)."
    )
