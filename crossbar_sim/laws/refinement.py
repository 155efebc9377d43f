"""Iterative refinement: an imprecise analogue solver inside, digital residuals around it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossbar_sim.energy.digital import NODES, DigitalNode, arithmetic
from crossbar_sim.energy.power import Figures, adc_energy, amplifier_energy, dac_energy
from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from crossbar_sim.study.intervals import yield_interval
from mapping.bank import Die, ResistorBank
from mapping.bank.switches import closed_switches
from netlists.circuit import Periphery
from tinynets.subset_sum import solve

#: Sizes with the number of matrices of each at effort 1; condition numbers; branches of a bank.
SIZES = {16: 6.0, 64: 3.0, 256: 0.5}
CONDITIONS = (10.0, 1e2, 1e3, 1e4, 1e6, 1e8)
BRANCHES = (2, 3, 4, 6, 8)
#: Bits of the converters of the inner solver; None for ideal ones.
CONVERTERS = (None, 8)
N_ITERATION, SHOWN = 40, (1, 2, 3, 5, 10, 20, 40)
#: Digits asked for where energies are compared, and beyond which an error counts as grown.
DIGITS, GROWN = 10.0, 1.0
#: Read voltage [V], gain-bandwidth of the amplifiers [Hz], ohms of the smallest resistor.
V_READ, GBW, R_MIN = 0.2, 100e6, 100e3


# ---- a matrix on resistors -----------------------------------------------------------------------


def matrix(n: int, condition: float, seed: int) -> NDArray:
    """Return a symmetric positive definite matrix (n, n), largest element 1.

    Its eigenvalues are spaced evenly in logarithm from 1 to 1 / condition, in a random orthogonal
    basis, times a factor.
    """
    random = np.random.default_rng([seed, n, round(math.log10(condition) * 1000)])
    basis, upper = np.linalg.qr(random.standard_normal((n, n)))
    basis = basis * np.sign(np.diag(upper))
    a = basis @ np.diag(np.geomspace(1, 1 / condition, n)) @ basis.T
    return (a + a.T) / (2 * np.abs(a).max())


@dataclass(frozen=True)
class Realised:
    """A matrix as pairs of banks realise it.

    matrix: (n, n), in the unit of the matrix that was wanted.
    siemens: what all closed branches conduct together [S].
    loads: what the closed branches of each row conduct together, in that unit (n,).
    """

    matrix: NDArray
    siemens: float
    loads: NDArray


def realised(wanted: NDArray, branches: int, seed: int) -> Realised:
    """Return a matrix on pairs of banks of few branches, 5 % resistors, read by a 0.1 % meter.

    Ratio 1.75, switches of 1 kohm with a spread of 5 %; an element of 1 is 0.95 of the nominal full
    scale of a bank. Each pair's switches are the nearest by the readings.
    """
    options: dict[str, Any] = {
        "sigma_local": 0.05,
        "r_on": 1e3,
        "sigma_on": 0.05,
        "meter_error": 1e-3,
    }
    bank = ResistorBank(n=branches, r_min=R_MIN, **options)
    rows, columns = (index.ravel() for index in np.indices(wanted.shape))
    read, true = (
        Die(bank, seed).branches("matrix", rows, columns, measured=measured).g_closed
        for measured in (True, False)
    )
    unit = 0.95 * bank.g_full
    sign = np.repeat([1.0, -1.0], branches)
    values = read.reshape(len(rows), -1) * sign
    chosen = closed_switches(solve(values, unit * wanted.ravel()).mask, 2 * branches)
    g = true.reshape(len(rows), -1) * chosen
    found = (g * sign).sum(axis=1).reshape(wanted.shape) / unit
    loads = g.sum(axis=1).reshape(wanted.shape).sum(axis=1) / unit
    return Realised(found, float(g.sum()), loads)


def spectral_radius(wanted: NDArray, found: NDArray) -> float:
    """Return that of I - found^-1 wanted, by which the error of the iteration shrinks."""
    step = np.eye(len(wanted)) - np.linalg.solve(found, wanted)
    return float(np.abs(np.linalg.eigvals(step)).max())


# ---- the iteration -------------------------------------------------------------------------------


def quantised(values: NDArray, bits: int | None) -> NDArray:
    """Return values rounded to 2^bits steps of a range that fits them; unchanged for None."""
    largest = np.abs(values).max()
    if bits is None or not largest:
        return values
    step = 2 * largest / 2**bits
    return step * np.round(values / step)


def refine(wanted: NDArray, found: NDArray, bits: int | None, seed: int) -> NDArray:
    """Return the relative error of x after 0 … N_ITERATION iterations, (N_ITERATION + 1,).

    The inner solver is the inverse of the realised matrix (ideal amplifiers) between a DAC and an
    ADC whose ranges follow their vectors; residuals and sums are float64. An error that grew
    beyond 1e6 is left there.
    """
    x_true = np.random.default_rng([seed, len(wanted)]).standard_normal(len(wanted))
    b, x = wanted @ x_true, np.zeros(len(wanted))
    inverse = np.linalg.inv(found)
    errors = np.full(N_ITERATION + 1, 1e6)
    for k in range(N_ITERATION + 1):
        errors[k] = np.linalg.norm(x - x_true) / np.linalg.norm(x_true)
        if errors[k] > 1e6:
            errors[k:] = 1e6
            break
        x = x + quantised(inverse @ quantised(b - wanted @ x, bits), bits)
    return errors


def case(n: int, condition: float, branches: int, seed: int) -> dict:
    """Return what one matrix on one die gives, with each kind of converters."""
    wanted = matrix(n, condition, seed)
    on_die = realised(wanted, branches, seed)
    row: dict = {"weight_error": _relative(on_die.matrix, wanted)}
    row |= {"radius": spectral_radius(wanted, on_die.matrix), "siemens": on_die.siemens}
    least = float(np.linalg.svd(on_die.matrix, compute_uv=False)[-1])
    row["settling"] = settling(on_die.loads, least, 8)
    for bits in CONVERTERS:
        row[str(bits)] = refine(wanted, on_die.matrix, bits, seed)
    return row


def _relative(found: NDArray, right: NDArray) -> float:
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


def summary(n: int, condition: float, branches: int, cases: list[dict]) -> list[dict]:
    """Return a row for each kind of converters, over matrices and their dies."""
    rows = []
    for bits in CONVERTERS:
        errors = np.array([one[str(bits)] for one in cases])
        radius = np.array([one["radius"] for one in cases])
        grown = errors[:, -1] > GROWN
        row = {"n": n, "condition": condition, "branches": branches, "converter_bits": bits}
        row |= {"matrices": len(cases), "radius": float(np.median(radius))}
        row |= {"weight_error": float(np.median([one["weight_error"] for one in cases]))}
        row |= yield_interval(int(grown.sum()), len(cases)).columns("diverged")
        right = grown == (radius >= 1)
        row |= {"as_predicted": int(right.sum()), "radii_of_others": radius[~right].tolist()}
        digits = -np.log10(np.maximum(np.median(errors, axis=0), 1e-17))
        row |= {f"digits_{k}": float(digits[k]) for k in SHOWN}
        reached = np.flatnonzero(digits >= DIGITS)
        row["iterations"] = int(reached[0]) if reached.size else None
        row["siemens"] = float(np.median([one["siemens"] for one in cases]))
        row["settling"] = float(np.median([one["settling"] for one in cases]))
        rows.append(row)
    return rows


# ---- joules --------------------------------------------------------------------------------------


def settling(loads: NDArray, least: float, bits: int) -> float:
    """Return the time [s] in which the solver settles to half a step of `bits`.

    loads: conductance of each row, in units of the matrix; least: smallest singular value.
    Amplifiers of one pole see their outputs divided by 1 + load, so that the slowest mode has the
    time constant (1 + largest load) / (2 pi gbw least). An assumption, not a measurement.
    """
    constant = (1 + float(loads.max())) / (2 * math.pi * GBW * least)
    return (bits + 1) * math.log(2) * constant


def joules(row: dict, node: DigitalNode) -> dict:
    """Return the energy of 10 digits by refinement and by digital arithmetic alone [J].

    row: of `summary` with converters and iterations. Analogue: each iteration has n DACs and
    amplifiers that work while it settles, n ADCs, and branches at no more than V_READ. Digital: a
    product and a sum of the node for each of n^2 elements of a residual, n^3 / 3 of an LU
    factorisation (two halves of 2/3 n^3 operations), and twice n^2 of a pair of triangular solves
    with a residual between. The figures are of 32-bit arithmetic on both sides; that of 64 bits
    costs more. Fetching numbers and choosing the switches are not counted.
    """
    n, steps = row["n"], row["iterations"]
    figures = Figures(t_read=row["settling"])
    g_line = np.full(n, row["siemens"] / n)
    amplifiers = amplifier_energy(figures, Periphery(gbw=GBW), g_line, 8).sum()
    found: dict = {"node": node.name, "DAC": steps * n * dac_energy(8, figures.seconds)}
    found["ADC"] = steps * n * adc_energy(8, figures.adc_case)
    found["amplifiers"] = steps * float(amplifiers)
    found["array"] = steps * row["siemens"] * V_READ**2 * figures.seconds
    found["residuals"] = steps * arithmetic(node, n**2)
    parts = ("DAC", "ADC", "amplifiers", "array", "residuals")
    refinement = sum(found[part] for part in parts)
    factored = 3 * arithmetic(node, n**2)
    lu = arithmetic(node, round(n**3 / 3)) + factored
    found |= {"refinement": refinement, "lu": lu, "lu_over_refinement": lu / refinement}
    found["lu_over_refinement_free_dac"] = lu / (refinement - found["DAC"])
    return found | {"factored_over_refinement": factored / refinement}


# ---- the law -------------------------------------------------------------------------------------


def measure(effort: Effort, seed: int) -> dict:
    """Measure errors against iterations, and energies; see `LAW`."""
    cases = [(n, c, m) for n in SIZES for c in CONDITIONS for m in BRANCHES]
    rows = []
    for k, (n, condition, branches) in enumerate(cases):
        count = effort.count(SIZES[n], least=1)
        found = [case(n, condition, branches, seed + 1000 * j) for j in range(count)]
        rows += summary(n, condition, branches, found)
        effort.progress("refinement", k + 1, len(cases))
    names = ("n", "condition", "branches", "iterations", "settling")
    energies = [
        {name: row[name] for name in names} | joules(row, node)
        for row in rows
        if row["converter_bits"] and row["iterations"]
        for node in NODES
        if "fp32" in node.name
    ]
    return {"seed": seed, "effort": effort.scale, "rows": rows, "energies": energies}


def tables(measured: dict) -> list[Table]:
    """Return the tables of what was measured."""
    rows = [{k: v for k, v in r.items() if k != "radii_of_others"} for r in measured["rows"]]
    return [
        Table("Digits against iterations, median matrix", rows),
        Table("Joules for 10 digits", measured["energies"]),
    ]


def draw(measured: dict, path: Path) -> None:
    """Draw digits against iterations, and the spectral radius against the condition."""
    sizes = sorted({row["n"] for row in measured["rows"]})
    size = sizes[len(sizes) // 2]
    ideal = [r for r in measured["rows"] if r["converter_bits"] is None and r["n"] == size]
    with panels(path, 2) as (left, right):
        for condition, style in zip(CONDITIONS, STYLES):
            for row in ideal:
                if row["condition"] == condition and row["branches"] == 6:
                    y = [row[f"digits_{k}"] for k in SHOWN]
                    left.plot(SHOWN, y, style, ms=4, label=f"condition {condition:g}")
        left.set(xlabel="iterations", ylabel="digits of x, median", ylim=(-4, 17))
        left.set(title=f"n = {size}, 6 branches a bank, ideal converters")
        for branches, style in zip(BRANCHES, STYLES):
            same = [row for row in ideal if row["branches"] == branches]
            x, y = [row["condition"] for row in same], [row["radius"] for row in same]
            right.plot(x, y, style, ms=4, label=f"{branches} branches")
        right.axhline(1, color="0.5", linestyle="--")
        right.set(xscale="log", yscale="log", xlabel="condition of A", title=f"n = {size}")
        right.set(ylabel="spectral radius of I − Ã⁻¹A")


LAW = Law(
    name="refinement",
    question="How many digits do 5 % resistors give as the inner solver of iterative refinement?",
    statement=(
        "Theorem (linear iterations): x + inverse(Atilde) (b - A x) converges from every start, in "
        "exact arithmetic, if and only if the spectral radius of I - inverse(Atilde) A is below 1; "
        "each iteration then gains -log10 of it in digits, in the long run. Published chips report "
        "24 bits in 3 iterations for 16 x 16 and errors of 1e-12. Measured: pairs of small banks "
        "with ideal amplifiers, so an upper bound of what a circuit can do."
    ),
    sources=(
        "Zuo, Sun et al., Nature Electronics (2025) (news pages only): 16 x 16, 24 bits, 3 "
        "iterations",
        "Sci. Adv. adr6391 (2025) (abstract only): a memristive solver with digital refinement",
        "energies: crossbar_sim.energy (Horowitz, ISSCC 2014; Jouppi et al., ISCA 2021; Murmann's "
        "survey of ADCs), as quoted there",
    ),
    measure=measure,
    tables=tables,
    draw=draw,
)
