"""The sections on fabrication, from the kept outputs."""

from benchmarks.pages.tables import load, table
from netlists.foundry.technologies import SKY130

#: A resistor of SKY130 whose model has a fault that figures here show.
XHIGH = SKY130.resistors["xhigh_po"]


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
            tile["technology"] + (", lengths stated" if tile["lengths"] else ""),
            "{:.1f} × {:.1f} µm".format(*tile["cell_um"]),
            f"{tile['branches']:,}",
            *(f"{tile['cpu_seconds'][step]:.1f} s" for step in ("draw", "DRC", "LVS", "write")),
            f"{tile['cpu_seconds_total']:.0f} s",
        ]
        for tile in kept["tiles"]
    ]
    width, height = kept["cells"]
    head = [
        "programmed by",
        "resistors",
        "cell",
        "branches drawn",
        "draw",
        "DRC",
        "LVS",
        "write",
        "total",
    ]
    return (
        f"Masks of {width} × {height} cells of 2 × {kept['branches_a_side']} branches, without a "
        "broken rule or a mismatch, in seconds of one core (`benchmarks/fabrication/layout.py`):\n\n"
        + table(head, rows)
        + "\n\n"
        "![a cell](benchmarks/results/layout_cell.png)"
    )


def foundry() -> str:
    """Return the section on a foundry's devices under an array."""
    kept = load("foundry_devices")
    lengths = [f"{row['length'] * 1e6:g} µm" for row in kept["devices"][0]["rows"][::2]]
    ends = {
        end: [row["error"] for row in kept["lines"] if row["switch_at"] == end]
        for end in ("bit line", "word line")
    }
    return (
        "Devices of two foundries, by their own models in ngspice, typical corner, 27 °C "
        "(`benchmarks/fabrication/foundry_devices.py`; how: [foundry.md](../how_to/foundry.md)). Resistance and spread by mismatch:\n\n"
        + table(["device", *lengths], _devices(kept))
        + f"\n\nBanks of {kept['n_branch']} branches, the shortest of 1 or 5 µm: bits of the median bank at its worst target, and "
        "the area of the film alone. Equal branches have little but their scatter to choose among; a ladder of values "
        f"(ratio {kept['ratio']}) has nearly the same bits whatever the device, so the smallest film wins:\n\n"
        + table(
            ["device", "equal, 1 µm", "ladder, 1 µm", "equal, 5 µm", "ladder, 5 µm"], _banks(kept)
        )
        + "\n\nThe nonlinear engine against ngspice with the models, and straight lines against it, as fractions of the "
        "largest current; 100 vectors on 16 × 16 pairs, processor time of both in the same run:\n\n"
        + table(
            [
                "models",
                "engine off by",
                "lines off by",
                "engine",
                "ngspice",
                "of it to read",
                "ratio",
            ],
            _tiles(kept),
        )
        + "\n\nWhat straight lines cost in the products of such a tile, for switches of 0.5 to 5 µm and reads of 0.1 to 0.3 V: "
        f"{min(ends['bit line']):.3%} to {max(ends['bit line']):.2%} with the switch at the bit line, "
        f"{min(ends['word line']):.2%} to {max(ends['word line']):.2%} at the word line, where it sees the signal.\n\n"
        "Switches chosen at 27 °C, used at another temperature: the common factor of all products, their error with it and "
        "without:\n\n"
        + table(["process", "temperature", "factor", "error", "without the factor"], _heat(kept))
        + f"\n\nOf sky130's xhigh_po: {XHIGH.fault}."
        + "\n\n![foundry devices](benchmarks/results/foundry_devices.png)"
    )


def _devices(kept: dict) -> list[list[str]]:
    """Return resistance and spread of each device by length."""
    return [
        [
            f"{about['technology']} {about['resistor']}, {about['width'] * 1e6:g} µm",
            *(f"{row['ohm']:,.0f} ohm, {row['sigma']:.1%}" for row in about["rows"][::2]),
        ]
        for about in kept["devices"]
    ]


def _banks(kept: dict) -> list[list[str]]:
    """Return bits and film area of the banks of each device."""
    return [
        [
            f"{about['technology']} {about['resistor']}, {about['width'] * 1e6:g} µm",
            *(
                f"{row['bits']:.1f} bits, {row['area'] * 1e12:,.0f} µm²"
                for row in about["banks"]
                if row["shortest"] in (1e-6, 5e-6)
            ),
        ]
        for about in kept["bits"]
    ]


def _tiles(kept: dict) -> list[list[str]]:
    """Return how far the engine is from ngspice, and the time of both."""
    return [
        [
            f"{row['technology']} ({row['models']})",
            f"{row['error']:.0e}",
            f"{row['line_error']:.0e}",
            f"{1e3 * row['engine_s']:.2g} ms",
            f"{row['ngspice_s']:.0f} s",
            f"{row['ngspice_first_s']:.0f} s",
            f"{row['ratio']:,.0f} ×",
        ]
        for row in kept["tiles"]
    ]


def _heat(kept: dict) -> list[list[str]]:
    """Return what heat does to the products of a tile."""
    return [
        [
            row["technology"],
            f"{row['kelvin'] - 273.15:.0f} °C",
            f"{row['factor']:.3f}",
            f"{row['error']:.1%}",
            f"{row['error_scaled']:.2%}",
        ]
        for row in kept["heat"]
    ]


def curves() -> str:
    """Return the section on a network by the curves of its devices and by straight lines."""
    kept = load("study_foundry_curves")
    found: dict[tuple, dict[str, tuple[float, float]]] = {}
    for point in kept["points"]:
        at, metrics = point["point"], point["metrics"]
        place = (min(at["foundry.lengths"]), at["foundry.w_nmos"], at["periphery.v_read"])
        error, share = (metrics[name][0] for name in ("output_error", "accuracy"))
        found.setdefault(place, {})[at["variant"]] = (error, share)
    names = list(next(iter(found.values())))
    rows = [
        [f"{1e6 * length:g} µm", f"{1e6 * width:g} µm", f"{volts:g} V"]
        + [f"{value:.2%}" for name in names for value in by_name[name]]
        for (length, width, volts), by_name in found.items()
    ]
    apart = [
        max(abs(by_name["curves"][k] - by_name["straight lines"][k]) for by_name in found.values())
        for k in (0, 1)
    ]
    heads = [f"{name}: {what}" for name in names for what in ("error", "accuracy")]
    return (
        "**How wrong is a switch of constant resistance?** The digits perceptron on xhigh_po and transistors of SKY130, wires, "
        "amplifiers, converters and noise included (`examples/foundry/foundry_curves.toml`; "
        f"{kept['n_trial']} trials, the same dies in each column; {kept['intervals']}). Error: rms difference of the network's outputs "
        "from the digital ones, over their rms. Selected for 0.1 V: by what branches conduct at 0.1 V, not by their slope at "
        f"0 V. Lines and curves differ by at most {100 * apart[0]:.2f} points of error and {100 * apart[1]:.2f} of accuracy: for "
        "this network a straight line would do, and the error is not made by the curves (a run's report has the cost of each "
        "part):\n\n"
        + table(["shortest", "switch", "read", *heads], rows)
        + "\n\n![curves and lines](benchmarks/results/study_foundry_curves-output_error.png)"
    )


def corners() -> str:
    """Return the section on networks of foundries' devices in corners and at temperatures."""
    kept = {
        "SKY130, xhigh_po": load("study_foundry_corners"),
        "IHP SG13G2, rhigh": load("study_foundry_corners_ihp"),
    }
    rows = [
        [
            name,
            point["point"]["foundry.corner"],
            f"{point['point']['foundry.temperature'] - 273.15:.0f} °C",
            "{:.2%} ({:.2%} … {:.2%})".format(*point["metrics"]["accuracy"]),
            f"{point['metrics']['mvm_error'][0]:.2%}",
            f"{1e9 * point['metrics']['energy'][0]:.1f} nJ",
        ]
        for name, study in kept.items()
        for point in study["points"]
    ]
    first = next(iter(kept.values()))
    areas = (
        f"{1e6 * study['points'][0]['metrics']['area'][0]:.2f} mm² ({name})"
        for name, study in kept.items()
    )
    return (
        "The digits perceptron on devices of both foundries, selected and used in each corner at each temperature, by the curves "
        f"of the models (`examples/foundry/foundry_corners.toml` and `foundry_corners_ihp.toml`; {first['n_trial']} trials each; "
        f"{first['intervals']}). Error: of the tiles' matrices, as straight lines. Energy of one inference with reads of 300 ns (SKY130) and 100 ns. Its "
        f"cells as drawn take {' and '.join(areas)}. Of xhigh_po: {XHIGH.fault}.\n\n"
        + table(["devices", "corner", "temperature", "accuracy", "error", "energy"], rows)
    )
