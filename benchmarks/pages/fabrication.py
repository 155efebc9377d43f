"""The sections on fabrication, from the kept outputs."""

from benchmarks.pages.tables import load, table


def sections() -> list[str]:
    """Return the sections in order, as Markdown."""
    return [pack(), measurement(), layout()]


def pack() -> str:
    """Return the section on the speed of packs and measured tables."""
    kept = load("pack_speed")
    rows = [
        [
            f"{pack['n_branch'] / 1e6:.2g} million",
            f"{pack['write_s']:.1f} s, {pack['write_MB']:.0f} MB",
            f"{pack['read_s']:.2f} s, {pack['read_MB']:.0f} MB",
        ]
        for pack in kept["packs"]
    ]
    wafers = "; ".join(f"{w['table']}, {w['s']:.1f} s and {w['MB']:.0f} MB" for w in kept["wafers"])
    return (
        "The fabrication pack with the netlists of its tiles: time, and memory beyond that of the "
        "network (`benchmarks/fabrication/pack_speed.py`):\n\n"
        + table(["branches", "writing", "reading back"], rows)
        + f"\n\nReading a measured table of ten million rows takes: {wafers}."
    )


def measurement() -> str:
    """Return the section on selection by estimates with a known uncertainty."""
    kept = load("measurement_plan")["rows"]
    rules = list(dict.fromkeys(row["rule"] for row in kept))
    cells = {(row["n"], row["meter"], row["rule"]): row["rms"] for row in kept}
    rows = [
        [str(n), meter, *(f"{cells[n, meter, rule]:.3%}" for rule in rules)]
        for n, meter in dict.fromkeys((row["n"], row["meter"]) for row in kept)
    ]
    return (
        "True rms error of selection, as a fraction of full scale, by how the branches were read "
        '(`benchmarks/fabrication/measurement_plan.py`). "Minded" means that the choice takes the uncertainty into '
        'account. "Alone" knows the leakage without a reading:\n\n'
        + table(["branches", "meter's error", *rules], rows)
    )


def layout() -> str:
    """Return the section on the time that masks take."""
    kept = load("layout")
    rows = [
        [
            {"switch": "switches", "via": "vias in the mask"}[tile["programming"]],
            f"{tile['branches']:,}",
            *(f"{tile['seconds'][step]:.1f} s" for step in ("draw", "DRC", "LVS", "write")),
            f"{tile['seconds_total']:.0f} s",
        ]
        for tile in kept["tiles"]
    ]
    width, height = kept["cells"]
    head = ["programmed by", "branches drawn", "draw", "DRC", "LVS", "write", "total"]
    return (
        f"Masks of {width} × {height} cells of 2 × {kept['branches_a_side']} branches, without a "
        "broken rule or a mismatch (`benchmarks/fabrication/layout.py`):\n\n"
        + table(head, rows)
        + "\n\n"
        "![a cell](benchmarks/results/layout_cell.png)"
    )
