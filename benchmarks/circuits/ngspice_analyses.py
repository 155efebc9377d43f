"""Noise and steps of a circuit by ngspice's own analyses, and what a step takes in energy.

Tests and `benchmarks.studies.nonidealities` compare them with `crossbar_sim.periphery`.
"""

import numpy as np

from crossbar_sim.ngspice.process import Job
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.periphery.settling import node_capacitance
from crossbar_sim.solvers.solution import Solution
from netlists.circuit import Circuit
from netlists.spice.text import OPTIONS, elements

#: ngspice's `.noise` cannot use KLU, and its old solver takes minutes for more nodes than this.
MAX_SPICE_NODES = 3000


def output_noise_ngspice(
    circuit: Circuit, bandwidth: float, *, worker: NgspiceWorker, pairs: bool = False
) -> np.ndarray:
    """Return the noise (n_out,) [V rms] of ngspice's `.noise` in 1 Hz … 1 Hz + bandwidth.

    bandwidth: far below the amplifiers' poles [Hz].
    worker: with require_klu=False, since `.noise` refuses KLU.
    pairs: as for `output_noise`.

    The temperature is 300.15 K. Raises ValueError for more than MAX_SPICE_NODES nodes, and for an
    ideal amplifier, whose text has no feedback resistor that could make noise.
    """
    if np.isinf(circuit.periphery.tia_gain):
        raise ValueError("tia_gain must be finite for the noise of the feedback; got inf")
    if circuit.elements.n_node > MAX_SPICE_NODES:
        raise ValueError(
            f".noise without KLU serves at most {MAX_SPICE_NODES} nodes; got "
            f"{circuit.elements.n_node}; use a smaller array"
        )
    nodes = circuit.names[0]
    inputs = [f"vin_{i} {nodes[k]} 0 dc 0 ac 1" for i, k in enumerate(circuit.elements.input_nodes)]
    body = "\n".join(["* noise", *elements(circuit, noise=True), *inputs])
    half = circuit.n_line // 2
    lines = range(half) if pairs else range(circuit.n_line)
    outputs = [f"v(out_{j + half},out_{j})" if pairs else f"v(out_{j})" for j in lines]
    cards = [f".noise {out} vin_0 lin 11 1 {1.0 + bandwidth!r}\n.end\n" for out in outputs]
    jobs = [Job(f"{body}\n{card}", "noise", ("onoise_total",), 1) for card in cards]
    return np.array([worker.run(job).values[0, 0] for job in jobs])


def step_ngspice(
    circuit: Circuit, v_in: np.ndarray, times: np.ndarray, *, worker: NgspiceWorker
) -> np.ndarray:
    """Return ngspice's outputs (n_time, n_line) [V] after a step at t = 0.

    v_in: (n_word,) [V].
    times: (n_time,) [s], evenly spaced from 0.

    Raises ValueError for other times or inputs that do not fit, NgspiceError if ngspice cannot be
    trusted.
    """
    names = tuple(f"out_{j}" for j in range(circuit.n_line))
    text = step_deck(circuit, v_in, times)
    return worker.run(Job(text, "tran", names, len(times))).values.T


def step_deck(circuit: Circuit, v_in: np.ndarray, times: np.ndarray) -> str:
    """Return the netlist of `step_ngspice`: a `.tran` of the circuit with its capacitors."""
    (v_in,) = circuit.check_inputs(v_in)
    step = float(times[-1]) / (len(times) - 1)
    if not np.allclose(times, step * np.arange(len(times)), rtol=0, atol=1e-6 * step):
        raise ValueError(f"times must be evenly spaced from 0; got {times}")
    nodes = circuit.names[0]
    rise = step * 1e-4  # ngspice cannot jump
    cards = [
        f"vin_{i} {nodes[k]} 0 pwl(0 0 {rise!r} {v!r})"
        for i, (k, v) in enumerate(zip(circuit.elements.input_nodes, v_in.tolist()))
    ]
    c_node = node_capacitance(circuit)
    cards += [f"cwire_{k} {nodes[k]} 0 {c_node[k].item()!r}" for k in np.flatnonzero(c_node)]
    saved = " ".join(f"v(out_{j})" for j in range(circuit.n_line))
    cards += [f"{OPTIONS} interp reltol=1e-6", f".save {saved}"]
    cards.append(f".tran {step!r} {float(times[-1])!r} 0 {step!r}")
    return "\n".join(["* step", *elements(circuit), *cards, ".end", ""])


def charging_energy(solution: Solution) -> np.ndarray:
    """Return the energy (n_batch,) [J] that charging the wires takes, sum of C v² over nodes.

    The drivers deliver it on top of the static power while the nodes rise to their voltages: half
    is lost on the way, half when they fall again. Exact for any resistances and amplifiers without
    a pole, since the network is reciprocal. Raises ValueError without node voltages.
    """
    return solution.nodes**2 @ node_capacitance(solution.circuit)


def product_energy(solution: Solution, time: np.ndarray | float) -> np.ndarray:
    """Return the energy (n_batch,) [J] that the drivers deliver for one read of a given time [s].

    The array conducts during the whole read, and its wires are charged once. Amplifiers and
    converters are not included.
    """
    return solution.power()["source"] * time + charging_energy(solution)
