"""The cost of each non-ideality: the pruned digits perceptron with one at a time, then with all.

Test accuracy and error of the logits at three levels of each, as a mean over seeds of the parts.
Noise, settling and the switch are compared with ngspice on the same die.
Run: python -m benchmarks.studies.nonidealities  (about 1 minute on two cores)
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks.circuits.ngspice_analyses import (
    charging_energy,
    output_noise_ngspice,
    product_energy,
    step_ngspice,
)
from benchmarks.circuits.transmission_gate import Gate, check_switch
from benchmarks.common import ROOT, figure, machine, print_table, save_json
from crossbar_sim import Hardware, NgspiceWorker, solve, to_torch
from crossbar_sim.config import load_config
from crossbar_sim.on_die.to_torch import circuit_inputs
from crossbar_sim.periphery.noise import Noise, output_noise
from crossbar_sim.periphery.settling import settling
from crossbar_sim.pipeline.steps import load_data, map_on_die, train_and_prune
from mapping import ResistorBank
from mapping.selection.bits import effective_bits
from netlists import Periphery, tile_circuit
from netlists.layout.floorplan import drawn_wires, plan_cell
from netlists.layout.technology import DBU, XHIGH_PO
from tinynets.networks.training import accuracy

SEEDS = range(5)
TOLERANCE = 2**-9  # half a step of 8 bits
GBW = 100e6


def _seeded(parts: Hardware, seed: int) -> Hardware:
    """Return the same kinds of parts, drawn with another seed."""
    return Hardware(
        parts.wires,
        replace(parts.periphery, seed=seed),
        replace(parts.converters, seed=seed),
        parts.noise and replace(parts.noise, seed=seed),
    )


#: Name, unit, three levels (mild, usual, harsh), and the change of the parts.
Change = Callable[[Hardware, float], Hardware]
TERMS: list[tuple[str, str, tuple[float, float, float], Change]] = [
    ("wires", "ohm/segment", (1, 5, 25), lambda p, x: _wires(p, r_word=x, r_bit=x)),
    ("driver", "ohm", (100, 500, 2500), lambda p, x: _wires(p, r_driver=x)),
    ("TIA gain", "", (1e4, 1e3, 1e2), lambda p, x: _tia(p, tia_gain=x)),
    ("TIA input", "ohm", (20, 100, 500), lambda p, x: _tia(p, r_input=x)),
    ("TIA offset", "V, sigma", (4e-4, 2e-3, 1e-2), lambda p, x: _tia(p, v_offset_sigma=x)),
    ("TIA offset, auto-zero", "V, sigma", (4e-4, 2e-3, 1e-2), lambda p, x: _zeroed(p, x)),
    ("TIA swing", "V", (0.4, 0.2, 0.1), lambda p, x: _tia(p, v_swing=x)),
    ("DAC", "bits", (8, 6, 3), lambda p, x: _converters(p, dac_bits=int(x))),
    ("DAC gain", "sigma", (4e-3, 2e-2, 1e-1), lambda p, x: _converters(p, dac_gain_sigma=x)),
    ("DAC offset", "V, sigma", (2e-4, 1e-3, 5e-3), lambda p, x: _converters(p, dac_offset_sigma=x)),
    ("DAC INL", "of range", (1e-3, 5e-3, 2.5e-2), lambda p, x: _converters(p, dac_inl=x)),
    ("ADC", "bits", (8, 6, 4), lambda p, x: _converters(p, adc_bits=int(x))),
    ("ADC gain", "sigma", (4e-3, 2e-2, 1e-1), lambda p, x: _converters(p, adc_gain_sigma=x)),
    ("ADC offset", "V, sigma", (2e-4, 1e-3, 5e-3), lambda p, x: _converters(p, adc_offset_sigma=x)),
    ("ADC INL", "of range", (1e-3, 5e-3, 2.5e-2), lambda p, x: _converters(p, adc_inl=x)),
    ("bit-serial, 8-bit ADC", "DAC bits", (8, 6, 3), lambda p, x: _serial(p, int(x))),
    ("noise, 10 nV/√Hz", "Hz", (1e6, 1e7, 1e8), lambda p, x: _noisy(p, x)),
]
LEVELS = ("mild", "usual", "harsh")
#: Terms that exclude another term; they are left out of "all together".
ALONE = ("TIA offset, auto-zero", "bit-serial, 8-bit ADC")


def _wires(parts: Hardware, **options) -> Hardware:
    return replace(parts, wires=replace(parts.wires, **options))


def _tia(parts: Hardware, **options) -> Hardware:
    return replace(parts, periphery=replace(parts.periphery, **options))


def _converters(parts: Hardware, **options) -> Hardware:
    return replace(parts, converters=replace(parts.converters, **options))


def _serial(parts: Hardware, bits: int) -> Hardware:
    return _converters(parts, inputs="bit-serial", dac_bits=bits, adc_bits=8)


def _zeroed(parts: Hardware, sigma: float) -> Hardware:
    return _converters(_tia(parts, v_offset_sigma=sigma), auto_zero=True)


def _noisy(parts: Hardware, bandwidth: float) -> Hardware:
    return replace(_tia(parts, v_noise=10e-9), noise=Noise(bandwidth))


class Case:
    """The network, its die and its data; returns the figures of any set of parts."""

    def __init__(self) -> None:
        self.config = load_config(ROOT / "examples" / "runs" / "digits.toml")
        self.data = load_data(self.config)
        _, self.pruned = train_and_prune(self.config, self.data)
        self.mapped = map_on_die(self.config, self.pruned, self.data)
        self.x_test = torch.from_numpy(self.data.x_test)
        with torch.no_grad():
            self.ideal = self.on_die(Hardware())(self.x_test)

    def on_die(self, parts: Hardware) -> torch.nn.Module:
        calibration = torch.from_numpy(self.data.x_train)
        return to_torch(
            self.pruned,
            self.mapped,
            parts,
            calibration=calibration,
        )

    def figures(self, parts: Hardware) -> dict[str, float]:
        """Return accuracy, rms error over the largest logit, and saturated values per image."""
        rows = [self._once(_seeded(parts, seed)) for seed in SEEDS]
        return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}

    def _once(self, parts: Hardware) -> dict[str, float]:
        network = self.on_die(parts)
        score = accuracy(network, self.data.x_test, self.data.y_test)
        layers = [network.get_submodule(layer.source.module) for layer in self.mapped.layers]
        n_saturated = sum(layer.n_saturated for layer in layers) / len(self.x_test)
        with torch.no_grad():
            gap = (network(self.x_test) - self.ideal).square().mean().sqrt()
        error = float(gap / self.ideal.abs().max())
        return {"accuracy": score, "error": error, "n_saturated": float(n_saturated)}


def each_alone(case: Case) -> list[dict]:
    """Return the figures of every non-ideality alone, at its three levels."""
    rows = []
    for name, unit, levels, change in TERMS:
        figures = [case.figures(change(Hardware(), level)) for level in levels]
        rows.append({"name": name, "unit": unit, "levels": levels, "figures": figures})
    return rows


def together(case: Case, *, auto_zero: bool) -> list[dict]:
    """Return the figures of all non-idealities at once, at each of the three levels."""
    figures = []
    for k in range(3):
        parts = _converters(Hardware(), auto_zero=auto_zero)
        for name, _, levels, change in TERMS:
            parts = parts if name in ALONE else change(parts, levels[k])
        figures.append(case.figures(parts))
    return figures


def physics(case: Case) -> dict:
    """Return area, wires, noise, settling and energy of the last tile, some beside ngspice."""
    tile = case.mapped.tiles[-1]
    cell = plan_cell(case.mapped.die.bank, XHIGH_PO, "switch")
    wires = drawn_wires(cell, XHIGH_PO, r_driver=500.0)
    ends = Periphery(tia_gain=1e4, gbw=GBW, v_noise=10e-9)
    images = circuit_inputs(case.on_die(Hardware()), case.mapped, case.x_test[:64])
    v_in = images[tile.layer][:, tile.rows]
    circuit = tile_circuit(tile, wires, ends)
    solution = solve(circuit, v_in, nodes=True)
    settled = settling(circuit, v_in, TOLERANCE)
    time = float(settled.time.max())
    noise = output_noise(circuit, pairs=True).volts(1.0 / (2.0 * time))
    pairs = solution.v_out[:, tile.n_bit :] - solution.v_out[:, : tile.n_bit]
    return {
        "tile": tile.name,
        "shape": (tile.n_word, tile.n_bit),
        "area_weight_m2": cell.area,
        "area_tile_m2": tile.n_word * tile.n_bit * cell.area,
        "wires": vars(wires),
        "settling_s": time,
        "noise_V": float(noise.max()),
        "noise_bits": float(effective_bits(2 * np.abs(pairs).max(), noise.max())),
        "energy_J": float(product_energy(solution, time).mean()),
        "charging_J": float(charging_energy(solution).mean()),
        "beside_ngspice": beside_ngspice(circuit, v_in[int(settled.time.argmax())], time),
    }


def beside_ngspice(circuit, v_in: np.ndarray, time: float) -> dict:
    """Return the deviations of noise and settling from ngspice, and of the switch from linear."""
    times = np.linspace(0, 1.5 * time, 3001)
    with NgspiceWorker() as worker:
        wave = step_ngspice(circuit, v_in, times, worker=worker)
        gate = Gate(w_n=0.42e-6, w_p=1e-6)
        switch = check_switch(gate, 100e3, 0.2, worker=worker)
    final = solve(circuit, v_in).v_out[0]
    beyond = np.abs(wave - final).max(axis=1) > TOLERANCE * np.abs(final).max()
    with NgspiceWorker(require_klu=False) as worker:
        # Without the amplifiers' poles the noise is white on both sides.
        white = replace(circuit, periphery=replace(circuit.periphery, gbw=np.inf))
        spice = output_noise_ngspice(white, 1e6, worker=worker, pairs=True)
    fast = output_noise(white, pairs=True).volts(1e6)
    return {
        "settling_ngspice_s": float(times[np.flatnonzero(beyond)[-1] + 1]),
        "settling_resolution_s": float(times[1]),
        "noise_error": float(np.abs(spice / fast - 1).max()),
        "switch_r_on": switch.r_on,
        "switch_error": switch.error,
    }


def trade() -> list[dict]:
    """Return the cost of more branches in a bank: area, and ohms and farads of longer wires."""
    rows = []
    for n in (2, 4, 6, 8, 10, 12):
        cell = plan_cell(ResistorBank(n=n), XHIGH_PO, "switch")
        wires = drawn_wires(cell, XHIGH_PO)
        rows.append({"n": n, "area_um2": cell.area * 1e12, "pitch_um": cell.width * DBU * 1e6})
        rows[-1] |= {"ohm_per_segment": wires.r_word, "fF_per_segment": wires.c_word * 1e15}
    return rows


def _short(level: float | str) -> str:
    return level if isinstance(level, str) else f"{level:g}"


def draw(rows: list[dict], ideal: dict) -> None:
    """Plot error of the logits and accuracy at every level of every non-ideality."""
    labels = [f"{r['name']}: {' / '.join(map(_short, r['levels']))} {r['unit']}" for r in rows]
    place = np.arange(len(labels))[::-1]
    with figure("nonidealities", columns=2) as (left, right):
        for k, (level, colour) in enumerate(zip(LEVELS, ("C2", "C0", "C3"))):
            error = [row["figures"][k]["error"] for row in rows]
            score = [100 * row["figures"][k]["accuracy"] for row in rows]
            left.plot(error, place, ".", color=colour, label=level)
            right.plot(score, place, ".", color=colour)
        left.set(xscale="log", xlabel="rms error of the logits over the largest")
        left.set_yticks(place, labels, fontsize=6)
        right.set(xlabel="test accuracy [%]", yticks=place, yticklabels=[])
        right.axvline(100 * ideal["accuracy"], color="0.5", lw=0.8, label="ideal parts")
        for ax in (left, right):
            ax.grid(alpha=0.3)
            ax.legend(fontsize=7, loc="center left")


def main() -> None:
    """Run, print and keep."""
    torch.set_num_threads(1)
    record = machine()
    case = Case()
    ideal, rows = case.figures(Hardware()), each_alone(case)
    for name, auto_zero in (("all together", False), ("all, auto-zero", True)):
        figures = together(case, auto_zero=auto_zero)
        rows.append({"name": name, "unit": "", "levels": LEVELS, "figures": figures})
    one_tile = physics(case)
    pruned = accuracy(case.pruned, case.data.x_test, case.data.y_test)
    table = [
        (r["name"], r["unit"], x, f["accuracy"], f["error"], f["n_saturated"])
        for r in rows
        for x, f in zip(r["levels"], r["figures"])
    ]
    header = ("non-ideality", "unit", "level", "accuracy", "error", "saturated")
    print_table(f"pruned {pruned:.4f}, ideal parts {ideal['accuracy']:.4f}", header, table)
    print_table("one tile", ("quantity", "value"), [(k, v) for k, v in one_tile.items()])
    bank_sizes = trade()
    print_table("branches", list(bank_sizes[0]), [list(row.values()) for row in bank_sizes])
    results = {"ideal": ideal, "pruned": pruned, "rows": rows, "branches": bank_sizes}
    save_json("nonidealities", {"machine": record, **results, "physics": one_tile})
    draw(rows, ideal)


if __name__ == "__main__":
    main()
