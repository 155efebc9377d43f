"""Arrays of nonlinear cells by Newton's method, one input vector after another.

A step linearises every cell and solves the array that results (`crossbar_sim.nonlinear.lines`). It
is taken whole, or halved until the currents at the nodes balance better than before. Where no part
of it helps, as with cells that saturate behind wires of far more resistance, one step is taken with
each cell's conductance as it is, which is slower but never far out.

Evaluating the cells takes more time than these linear equations, so each vector has its own. With
one elimination for all vectors, of the cells at 0 V, and corrections from there, tiles of 16 × 16
and 32 × 32 took 7 to 14 evaluations where Newton's method takes 4.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from crossbar_sim.nonlinear import chebyshev, kirchhoff, lines
from crossbar_sim.nonlinear.cell_laws import CellLaws, VoltageBox
from crossbar_sim.nonlinear.chebyshev import Cells, Series, evaluate
from crossbar_sim.nonlinear.kirchhoff import imbalance
from crossbar_sim.nonlinear.lines import Segments, linearised, solve_linear
from crossbar_sim.solvers import conjugate_gradients
from crossbar_sim.solvers.conjugate_gradients import Ends
from crossbar_sim.solvers.solution import SolverError
from crossbar_sim.transfer.array_lines import KNOWN
from netlists.circuit import Periphery, Wires
from tinynets.files.compiled import kernels

#: Largest accepted imbalance, and the one at which the iteration stops: the net current of a node
#: beyond what voltages rounded to doubles explain, over the largest sum of currents that meet.
RESIDUAL_LIMIT, TOLERANCE = 1e-10, 1e-12
#: Largest number of steps, and of tries of a step, each half as long as the one before.
N_STEP, N_HALVING = 60, 12
#: Voltage across a cell below which a quotient has lost half of its digits [V].
_NO_DROP = 1e-8
#: To which part of their first error the linear equations of a step are solved.
_FRACTION = 1e-9
#: Product of cells and vectors above which a second thread pays.
_WORTH_THREADS = 20_000

kernel = kernels(chebyshev, conjugate_gradients, kirchhoff, lines, error_model="numpy")


class Array(NamedTuple):
    """An array, as the kernels read it.

    low_word … high_bit: the box of its cells [V].
    """

    series: Series
    segments: Segments
    low_word: float
    high_word: float
    low_bit: float
    high_bit: float


@dataclass(frozen=True)
class NonlinearSolution:
    """Outputs of an array of nonlinear cells for a batch of input vectors.

    i_out: (n_batch, n_line) current out of each bit line into its TIA [A].
    v_out: (n_batch, n_line) output voltage of each TIA [V].
    v_word: (n_batch, n_word, n_bit) word nodes [V], or None if they were not asked for.
    v_bit: (n_batch, n_word, n_line) bit nodes [V], or None.
    n_step: the largest number of steps of Newton's method that a vector took.
    residual: the largest net current of a node beyond rounding, over the largest sum of currents
        that meet at one.
    """

    i_out: np.ndarray
    v_out: np.ndarray
    v_word: np.ndarray | None
    v_bit: np.ndarray | None
    n_step: int
    residual: float


def solve_nonlinear(
    cells: CellLaws, wires: Wires, periphery: Periphery, v_in: np.ndarray, *, nodes: bool = False
) -> NonlinearSolution:
    """Return the outputs, and on request all node voltages, for every input vector.

    cells: of one side or two, whose outputs are ordered positive side first.
    wires, periphery: as for `crossbar_sim.solve`. Any of their resistances may be 0.
    v_in: (n_batch, n_word) or (n_word,) [V].

    The iteration starts at the voltages of ideal wires, so inputs and the voltages of the TIAs must
    be in the box of the cells as all nodes must. Raises SolverError if one is not, or if the
    iteration does not converge; ValueError for inputs or wires that do not fit.
    """
    circuit = cells.outline(wires, periphery)
    v_in = np.array(circuit.check_inputs(v_in), order="C")
    if unknown := wires.others(KNOWN):
        raise ValueError(f"solve_nonlinear does not know {', '.join(unknown)}; leave them at 0")
    offsets = periphery.offsets(circuit.n_line).reshape(len(cells.coefficients), -1)
    v_tia = np.repeat(periphery.share * offsets[None], len(v_in), axis=0)
    cells.require_inside(v_in, v_tia)
    first, end = wires.r_driver + wires.r_word, wires.r_bit + periphery.r_tia_input
    segments = Segments(*map(float, (first, wires.r_word, wires.r_bit, end)))
    array = Array(cells.series, segments, *map(float, (*cells.domain.word, *cells.domain.bit)))
    v_word, above, i_out, progress = _solve(array, Ends(v_in, v_tia))
    v_bit = (above + v_tia[:, None]).reshape(len(v_in), circuit.n_word, circuit.n_line)
    i_out = i_out.reshape(len(v_in), circuit.n_line)
    residual = float(progress[:, 1].max(initial=0.0))
    if not residual <= RESIDUAL_LIMIT:
        failed = int(progress[:, 1].argmax())
        raise SolverError(_no_solution(cells.domain, failed, progress[failed], v_word, v_bit))
    return NonlinearSolution(
        i_out,
        periphery.outputs(i_out),
        v_word if nodes else None,
        v_bit if nodes else None,
        int(progress[:, 0].max(initial=0.0)),
        residual,
    )


def _no_solution(
    box: VoltageBox, failed: int, progress: np.ndarray, v_word: np.ndarray, v_bit: np.ndarray
) -> str:
    """Return what happened to the vector `failed`: where its last step was to go."""
    word, bit = (f"{v[failed].min():.4g} … {v[failed].max():.4g} V" for v in (v_word, v_bit))
    laws = " and ".join(f"{low:g} … {high:g} V" for low, high in box)
    return (
        f"after {progress[0]:.0f} steps of Newton's method the currents of input vector {failed} "
        f"are off by {progress[1]:.1e} of those that meet at a node (limit {RESIDUAL_LIMIT:.0e}); "
        f"the last step was to word nodes at {word} and bit nodes at {bit}, and the laws of the "
        f"cells hold for {laws}: fit them on a larger box if a voltage is outside it, else look "
        "for cells whose current falls as the voltage across them grows"
    )


def _solve(array: Array, ends: Ends) -> tuple[np.ndarray, ...]:
    """Return word nodes, bit nodes above their TIAs, currents, and (n_batch, 2) steps, imbalance.

    Each vector is solved by itself, so the number of threads changes nothing.
    """
    n_batch, shape = len(ends.v_in), array.series.coefficients.shape[1:4]
    sizes = (shape[0], shape[2]), shape, shape[1:], (2,)
    found = tuple(np.empty((n_batch, *size)) for size in sizes)

    def work(rows: np.ndarray) -> None:
        part = slice(rows[0], rows[-1] + 1)
        own = Ends(ends.v_in[part], ends.v_tia[part])
        _solve_batch(array, own, *(each[part] for each in found))

    large = found[1].size > _WORTH_THREADS
    n_part = min(n_batch, numba.get_num_threads()) if large else 1
    parts = [rows for rows in np.array_split(np.arange(n_batch), n_part) if len(rows)]
    if len(parts) > 1:
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(work, parts))
    elif parts:
        work(parts[0])
    return found


@kernel
def _solve_batch(array, ends, u, x, i_out, progress):
    """Solve every vector of a batch; progress (n_batch, 2) becomes steps and imbalance."""
    for b in range(len(u)):
        one = Ends(ends.v_in[b], ends.v_tia[b])
        n_step, left = _solve_one(array, one, u[b], x[b], i_out[b])
        progress[b, 0], progress[b, 1] = n_step, left


@kernel
def _solve_one(array, ends, u, x, i_out):
    """Solve for one vector; return the number of steps and the relative imbalance.

    u (n_word, n_bit) and x (n_word, n_side, n_bit) become the word nodes and the bit nodes above
    their TIAs; where that fails, those that the last step was to reach.
    """
    nodes, cells, tried_cells = (u, x), _no_cells(x.shape), _no_cells(x.shape)
    goal, tried = (np.empty_like(u), np.empty_like(x)), (np.empty_like(u), np.empty_like(x))
    x[:] = 0.0
    for i in range(len(u)):
        u[i] = ends.v_in[i]
    net, most = _conduct(array, ends, nodes, cells)
    n_step = 0
    while n_step < N_STEP and net > TOLERANCE * most:
        trial = (goal, tried, tried_cells)
        new, new_most = _step(array, ends, cells, nodes, trial, net)
        if not new < net:
            if net <= RESIDUAL_LIMIT * most:
                break
            plain = _plain(cells, ends.v_tia, u, x)
            new, new_most = _step(array, ends, plain, nodes, trial, np.inf)
        net, most, cells, tried_cells = new, new_most, tried_cells, cells
        _copy(tried, nodes)
        n_step += 1
    residual = net / most if most > 0 else 0.0
    if not residual <= RESIDUAL_LIMIT:
        _copy(goal, nodes)
    _add_up(cells.current, i_out)
    return n_step, residual


@kernel
def _step(array, ends, cells, nodes, trial, net):
    """Try the step of the linearised array, then a half of it and so on, until less is off.

    trial: voltages of the whole step, those that are tried last, and the `Cells` there.
    net: what is off so far; the net current that is returned is less if the step is a good one.
    """
    goal, tried, tried_cells = trial
    _copy(nodes, goal)
    linear = linearised(cells, array.segments, goal[0], goal[1])
    solve_linear(linear, ends.v_in, _FRACTION, goal[0], goal[1])
    new, most = np.inf, 0.0
    for n in range(N_HALVING):
        _try(array, ends.v_tia, nodes, goal, 0.5**n, tried)
        new, most = _conduct(array, ends, tried, tried_cells)
        if new < net:
            break
    return new, most


@kernel
def _plain(cells, v_tia, u, x):
    """Return the cells with I / (v_w - v_b), where that is defined, in place of derivatives.

    Linear resistors of these conductances keep all voltages between those of the ends.
    """
    found = Cells(cells.current, cells.by_word.copy(), cells.by_bit.copy())
    for i in range(x.shape[0]):
        for side in range(x.shape[1]):
            for j in range(x.shape[2]):
                drop = u[i, j] - x[i, side, j] - v_tia[side, j]
                if abs(drop) > _NO_DROP:
                    found.by_word[i, side, j] = cells.current[i, side, j] / drop
                    found.by_bit[i, side, j] = found.by_word[i, side, j]
    return found


@kernel
def _no_cells(shape):
    return Cells(np.empty(shape), np.empty(shape), np.empty(shape))


@kernel
def _conduct(array, ends, nodes, cells):
    """Evaluate the cells; return the largest net current of a node, and the largest that meets."""
    evaluate(array.series, nodes[0], nodes[1], ends.v_tia, cells)
    return imbalance(cells, array.segments, ends, nodes[0], nodes[1])


@kernel
def _try(array, v_tia, start, goal, length, tried):
    """Go a part `length` of the way from start to goal, both (word nodes, bit nodes above TIAs).

    What leaves the box is put at its edge. Only steps are cut so: where a solution is really
    outside, the currents at the edge do not balance.
    """
    n_word, n_side, n_bit = start[1].shape
    for i in range(n_word):
        for j in range(n_bit):
            v = start[0][i, j] + length * (goal[0][i, j] - start[0][i, j])
            tried[0][i, j] = min(max(v, array.low_word), array.high_word)
            for side in range(n_side):
                t = v_tia[side, j]
                v = start[1][i, side, j] + length * (goal[1][i, side, j] - start[1][i, side, j])
                tried[1][i, side, j] = min(max(v, array.low_bit - t), array.high_bit - t)


@kernel
def _copy(nodes, target):
    """Copy word nodes and bit nodes; by loops, which compile in a tenth of the time of slices."""
    n_word, n_side, n_bit = nodes[1].shape
    for i in range(n_word):
        for j in range(n_bit):
            target[0][i, j] = nodes[0][i, j]
            for side in range(n_side):
                target[1][i, side, j] = nodes[1][i, side, j]


@kernel
def _add_up(current, i_out):
    """Add the currents (n_word, n_side, n_bit) of all cells of each bit line."""
    i_out[:] = 0.0
    for i in range(len(current)):
        for side in range(i_out.shape[0]):
            for j in range(i_out.shape[1]):
                i_out[side, j] += current[i, side, j]
