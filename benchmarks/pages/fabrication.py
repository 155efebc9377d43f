"""The sections on fabrication, from the kept outputs of the scripts here."""

from benchmarks.pages.tables import load, table


def sections() -> list[str]:
    """Return the sections in order, as Markdown."""
    return [pack(), measurement(), layout()]


def pack() -> str:
    """How fast packs and measured tables are."""
    found = load("pack_speed")
    rows = [
        [
            f"{pack['n_branch'] / 1e6:.2g} million",
            f"{pack['write_s']:.1f} s, {pack['write_MB']:.0f} MB",
            f"{pack['read_s']:.2f} s, {pack['read_MB']:.0f} MB",
        ]
        for pack in found["packs"]
    ]
    wafers = ", ".join(f"{w['table']} {w['s']:.1f} s and {w['MB']:.0f} MB" for w in found["wafers"])
    return (
        "The fabrication pack, netlists of the tiles included: time, and memory beyond the "
        "network's own (`benchmarks/fabrication/pack_speed.py`):\n\n"
        + table(["branches", "written", "read back"], rows)
        + f"\n\nA measured table of ten million rows is read in: {wafers}."
    )


def measurement() -> str:
    """Selection by estimates that know how sure they are."""
    found = load("measurement_plan")["rows"]
    rules = list(dict.fromkeys(row["rule"] for row in found))
    cells = {(row["n"], row["meter"], row["rule"]): row["rms"] for row in found}
    rows = [
        [str(n), meter, *(f"{cells[n, meter, rule]:.3%}" for rule in rules)]
        for n, meter in dict.fromkeys((row["n"], row["meter"]) for row in found)
    ]
    return (
        "True rms error of selection, of full scale, by how the branches were read and whether "
        'the choice minds what is uncertain (`benchmarks/fabrication/measurement_plan.py`; "alone" is told '
        "the leakage for free):\n\n" + table(["branches", "meter's error", *rules], rows)
    )


def layout() -> str:
    """How long masks take."""
    found = load("layout")
    rows = [
        [
            {"switch": "switches", "via": "vias in the mask"}[tile["programming"]],
            f"{tile['branches']:,}",
            *(f"{tile['seconds'][step]:.1f} s" for step in ("draw", "DRC", "LVS", "write")),
            f"{tile['seconds_total']:.0f} s",
        ]
        for tile in found["tiles"]
    ]
    width, height = found["cells"]
    head = ["programmed by", "branches drawn", "draw", "DRC", "LVS", "write", "in all"]
    return (
        f"Masks of {width} × {height} cells of 2 × {found['branches_a_side']} branches, no rule "
        "broken and no mismatch (`benchmarks/fabrication/layout.py`):\n\n"
        + table(head, rows)
        + "\n\n"
        "![a cell](benchmarks/results/layout_cell.png)"
    )
