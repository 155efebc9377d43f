"""A foundry's devices under an array: what they are, what a straight line costs, how fast.

Run: python -m benchmarks.fabrication.foundry_devices  (about ten minutes on one core; needs the
models: scripts/foundry.sh)

All of it with the foundries' own models in ngspice, mismatch of one die, typical corner, 27 degrees
unless said.

- devices: resistance, spread by mismatch and temperature coefficient by length, and the area of the
  film (width times length, without heads, spacing and switch).
- bits: what a bank of ten branches of each device gives, median bank, worst target of the central
  half of full scale, as `crossbar-sim precision` counts them; switches included. "equal" branches
  live on the scatter, "ladder" ones on their values (ratio 1.75).
- lines: a tile of 16 x 16 pairs of SKY130 branches, 20 random vectors: how far straight lines
  through the origin, which the linear engine takes, are from the models, over read voltages and
  widths of the switch, at either end of the branch.
- tiles: the nonlinear engine against ngspice with the models on such a tile, and the time of both
  for 100 vectors in the same run, as processor time, which other load hardly disturbs.
- heat: a tile of the branches of the examples, whose switches were chosen at 27 degrees, at
  others: what its products are off before and after one common factor is taken out.
"""

import os
import time
from dataclasses import replace

import numpy as np

from benchmarks.common import figure, machine, print_table, save_json
from crossbar_sim import solve
from crossbar_sim.foundry.bank import foundry_bank
from crossbar_sim.foundry.measured import Measured, measured
from crossbar_sim.foundry.tile import FoundryTile
from mapping import Die, ResistorBank, TileConfig, map_network
from mapping.selection.precision import draw_from, precision_curve
from netlists import Periphery, Wires, tile_circuit
from netlists.foundry.branch import FoundryBranch
from netlists.foundry.models import find_models
from tinynets import PrunedLayer, PrunedNetwork

#: Technology, resistor, width [m] and lengths [m] of the table of devices.
DEVICES = [
    ("sky130", "high_po", 0.35e-6),
    ("sky130", "high_po", 1.41e-6),
    ("sky130", "xhigh_po", 0.35e-6),
    ("ihp-sg13g2", "rhigh", 0.5e-6),
    ("ihp-sg13g2", "rppd", 0.5e-6),
]
LENGTHS = (1e-6, 2e-6, 5e-6, 10e-6, 20e-6, 50e-6)
N_BRANCH, RATIO, N_BANK = 10, 1.75, 1000
V_READ, WIDTHS = (0.1, 0.2, 0.3), (0.5e-6, 1e-6, 2e-6, 5e-6)
KELVIN = (233.15, 273.15, 300.15, 348.15, 398.15)
SKY130 = FoundryBranch("sky130", "high_po", (5e-6, 8.8e-6, 15e-6, 27e-6, 47e-6), v_max=0.2)
IHP = FoundryBranch("ihp-sg13g2", "rhigh", (2.5e-6, 4.4e-6, 7.7e-6, 13e-6, 23e-6), v_max=0.2)
#: Branches of the examples, which hardly load their drivers.
LIGHT = (
    FoundryBranch("sky130", "xhigh_po", (7e-6, 12.3e-6, 21.4e-6, 37.5e-6, 65.7e-6), v_max=0.2),
    FoundryBranch("ihp-sg13g2", "rhigh", (7.5e-6, 13.1e-6, 23e-6, 40.2e-6, 70.3e-6), v_max=0.2),
)
WIRES, ENDS = Wires(5.2, 1.8, 100.0), Periphery(r_feedback=2e3, tia_gain=1e4)


def device(technology: str, resistor: str, width: float) -> tuple[dict, Measured]:
    found = measured(FoundryBranch(technology, resistor, LENGTHS, width=width, v_max=0.2))
    rows = [
        {"length": length, "ohm": ohm, "sigma": sigma, "tc1": tc1, "area": width * length}
        for length, ohm, sigma, tc1 in zip(
            LENGTHS, found.r.tolist(), found.sigma.tolist(), found.tc1.tolist()
        )
    ]
    about = {"technology": technology, "resistor": resistor, "width": width}
    return about | {"r_on": found.r_on, "rows": rows}, found


def bank_of(found: Measured, start: int, kind: str) -> ResistorBank:
    """Return a bank of N_BRANCH branches that begins at a length of the table.

    Values and scatter between the lengths of the table are interpolated: the resistance linearly,
    the scatter in logarithms.
    """
    factor = 1.0 if kind == "equal" else RATIO
    ohms = found.r[start] * factor ** np.arange(N_BRANCH)
    lengths = np.interp(ohms, found.r, LENGTHS)
    beyond = ohms > found.r[-1]
    lengths[beyond] = LENGTHS[-1] * ohms[beyond] / found.r[-1]
    sigma = np.exp(np.interp(np.log(lengths), np.log(LENGTHS), np.log(found.sigma)))
    options = {"r_on": found.r_on, "sigma_on": found.sigma_switch, "r_off": found.r_off}
    ladder = {"ladder": tuple(ohms.tolist()), "sigma_local": tuple(sigma.tolist())}
    return ResistorBank(n=N_BRANCH, **ladder, **options)


def bits(found: Measured, width: float) -> list[dict]:
    rows = []
    for start in range(4):
        for kind in ("equal", "ladder"):
            bank = bank_of(found, start, kind)
            curve = precision_curve(
                draw_from(lambda n, bank=bank: bank), [N_BRANCH], n_instance=N_BANK
            )
            of_length = np.interp(bank.r_nominal, found.r, LENGTHS)
            far = bank.r_nominal > found.r[-1]
            of_length[far] = LENGTHS[-1] * bank.r_nominal[far] / found.r[-1]
            rows.append(
                {
                    "kind": kind,
                    "shortest": LENGTHS[start],
                    "bits": float(curve.median.bits[0]),
                    "area": float(width * of_length.sum()),
                    "conductance": bank.g_full,
                }
            )
    return rows


def tile_of(branch: FoundryBranch, n: int = 16) -> FoundryTile:
    found = measured(branch)
    weight = np.random.default_rng(0).normal(size=(n, n))
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    mapped = map_network(network, Die(foundry_bank(found), seed=1), TileConfig(n, n))
    return FoundryTile(mapped.tiles[0], mapped.die, found, WIRES, ENDS)


def straight(tile: FoundryTile, v_in: np.ndarray) -> np.ndarray:
    return solve(tile_circuit(tile.tile, tile.wires, tile.periphery), v_in).i_out


def products(i_out: np.ndarray) -> np.ndarray:
    """Return the differences of the pairs of bit lines."""
    half = i_out.shape[1] // 2
    return i_out[:, :half] - i_out[:, half:]


def relative(found: np.ndarray, right: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - right) ** 2) / np.mean(right**2)))


def lines() -> list[dict]:
    """Return how far products by straight lines are from those by the models, rms over rms."""
    rows = []
    for end in ("bit line", "word line"):
        for v_read in V_READ:
            for width in WIDTHS:
                branch = replace(SKY130, v_max=v_read, w_nmos=width, switch_at=end)
                tile = tile_of(branch)
                v_in = np.random.default_rng(1).uniform(-v_read, v_read, (20, 16))
                models = tile.solve(v_in, bit_share=0.3).i_out
                row = {"switch_at": end, "v_read": v_read, "w_nmos": width}
                row |= {
                    "r_on": tile.measured.r_on,
                    "share": tile.measured.r_on / tile.measured.r[0],
                }
                error = relative(products(straight(tile, v_in)), products(models))
                rows.append(row | {"error": error})
    return rows


def children() -> float:
    """Return the processor time of all processes that this one has waited for [s]."""
    return sum(os.times()[2:4])


def tiles() -> list[dict]:
    """Return how far the engine is from ngspice with the models, and the time of both."""
    rows = []
    for branch in (SKY130, IHP):
        tile = tile_of(branch)
        v_in = np.random.default_rng(2).uniform(-0.2, 0.2, (100, 16))
        tile.solve(v_in[:1])  # compiles, and makes the tables that all tiles share
        start = time.process_time()
        ours = tile.solve(v_in).i_out
        engine = time.process_time() - start
        start = children()
        theirs = tile.by_ngspice(v_in)
        ngspice = children() - start
        start = children()
        tile.by_ngspice(v_in[:1])
        first = children() - start
        largest = np.abs(theirs).max()
        rows.append(
            {
                "technology": branch.technology,
                "models": find_models(branch.technology).version,
                "error": float(np.abs(ours - theirs).max() / largest),
                "line_error": float(np.abs(straight(tile, v_in) - theirs).max() / largest),
                "engine_s": engine,
                "ngspice_s": ngspice,
                "ngspice_first_s": first,
                "ratio": ngspice / engine,
                "ratio_without_reading": (ngspice - first) * 100 / 99 / engine,
                "n_device": int(tile.tile.present.sum()) * 2 * len(branch.lengths) * 2,
            }
        )
    return rows


def heat() -> list[dict]:
    """Return what a tile's products are off at other temperatures, with switches left alone."""
    rows = []
    for branch in LIGHT:
        cold = tile_of(branch)
        v_in = np.random.default_rng(3).uniform(-0.2, 0.2, (50, 16))
        right = products(cold.solve(v_in).i_out)
        for kelvin in KELVIN:
            found = measured(replace(branch, temperature=kelvin))
            die = Die(foundry_bank(found), seed=1)
            there = replace(cold, die=die, measured=found)
            now = products(there.solve(v_in).i_out)
            factor = float((now * right).sum() / (now**2).sum())
            row = {"technology": branch.technology, "kelvin": kelvin, "factor": 1 / factor}
            row |= {"error": relative(now, right), "error_scaled": relative(factor * now, right)}
            rows.append(row)
    return rows


def draw(devices: list[dict], by_bits: list[dict], by_line: list[dict]) -> None:
    with figure("foundry_devices", columns=3) as (left, middle, right):
        styles = ("o-", "s--", "^-", "d:", "v-.")
        for about, style in zip(devices, styles):
            name = f"{about['resistor']}, {about['width'] * 1e6:g} µm"
            area, sigma = zip(*((r["area"] * 1e12, 100 * r["sigma"]) for r in about["rows"]))
            left.plot(area, sigma, style, label=name, markersize=4)
        left.set(xscale="log", yscale="log", xlabel="film area [µm²]", ylabel="mismatch, sigma [%]")
        plain_ticks(left.yaxis, (0.3, 0.5, 1, 2, 5))
        left.legend(fontsize=7)
        for about, style in zip(by_bits, styles):
            for kind, colour in (("equal", "0.6"), ("ladder", "k")):
                same = [row for row in about["banks"] if row["kind"] == kind]
                x, y = [1e12 * row["area"] for row in same], [row["bits"] for row in same]
                label = (
                    about["resistor"] + f", {about['width'] * 1e6:g} µm"
                    if kind == "ladder"
                    else None
                )
                middle.plot(x, y, style, color=colour, label=label, markersize=4)
        middle.axhline(8, color="k", linewidth=0.6)
        middle.set(xscale="log", xlabel="film area of a bank [µm²]", ylabel="bits, median bank")
        middle.set_title(f"{N_BRANCH} branches: ladder (black), equal (grey)", fontsize=9)
        middle.legend(fontsize=7)
        for end, dash in (("bit line", "-"), ("word line", "--")):
            for v_read, mark in zip(V_READ, "osd"):
                same = [r for r in by_line if (r["switch_at"], r["v_read"]) == (end, v_read)]
                x, y = [1e6 * r["w_nmos"] for r in same], [100 * r["error"] for r in same]
                right.plot(x, y, mark + dash, color="k", label=f"{v_read} V, {end}", markersize=4)
        right.set(xscale="log", yscale="log", xlabel="width of the switch [µm]")
        right.set_ylabel("error of straight lines, rms [%]")
        plain_ticks(right.xaxis, tuple(1e6 * width for width in WIDTHS))
        right.legend(fontsize=7)


def plain_ticks(axis, values: tuple[float, ...]) -> None:
    axis.set_ticks(values, [f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)


def main() -> None:
    """Measure, print, draw and keep."""
    about, devices, by_bits = machine(), [], []
    for technology, resistor, width in DEVICES:
        row, found = device(technology, resistor, width)
        devices.append(row)
        names = {"technology": technology, "resistor": resistor, "width": width}
        by_bits.append(names | {"banks": bits(found, width)})
        print_table(
            f"{resistor}, {width * 1e6:g} um",
            list(row["rows"][0]),
            [list(r.values()) for r in row["rows"]],
        )
        print_table(
            "banks", list(by_bits[-1]["banks"][0]), [list(r.values()) for r in by_bits[-1]["banks"]]
        )
    found = {"lines": lines(), "tiles": tiles(), "heat": heat()}
    for name, rows in found.items():
        print_table(name, list(rows[0]), [list(row.values()) for row in rows])
    draw(devices, by_bits, found["lines"])
    kept = {"devices": devices, "bits": by_bits, "n_branch": N_BRANCH, "ratio": RATIO} | found
    save_json("foundry_devices", {"machine": about, **kept})


if __name__ == "__main__":
    main()
