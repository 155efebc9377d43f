"""What "one bit per resistor" means: which bank, which statistic, how much scatter, which meter.

Run: python -m benchmarks.selection.bits_per_resistor     (about a minute on one core)

Banks of n branches: uniform random conductances; equal conductances with a normal scatter of
0 … 30 %; and the pair of ladders of this project, with conductances 1, 1/1.75, 1/1.75², … and a
scatter of 0, 1, 5 %.

Single banks have targets in the central half of the full scale FS; every target of that band is
covered exactly. Statistics of the error e, in bits of FS, -log2(2 e / FS):

- "mean": the mean error over banks and targets.
- "worst of a bank": the worst target of the median bank.
- "worst of all": the worst target of all banks.

Each pair has one target, uniform over ± 0.95 of its lesser side, the range of weights in a run, or
over ± half of it. FS of a pair is the nominal range from minus one side to plus the other.

- "rms": the rms error as bits of a quantiser with that error, -log2(sqrt(12) e / FS).
- "worst": the worst of all, as above.

"Perfect": branches are known exactly. "0.1 %": selection uses readings with that relative error.
Slopes are least-squares fits of bits over resistors (a pair with n per side has 2 n), for numbers
of resistors at which the meter does not limit yet.
"""

import numpy as np

from benchmarks.common import figure, machine, print_table, save_json, timed
from mapping.selection.precision import precision_curve
from tinynets.subset_sum import solve

SINGLE_N = (6, 8, 10, 12, 14, 16)
EQUAL_SCATTER = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
N_BANK = 1000
PAIR_N = (2, 3, 4, 5, 6, 7, 8, 9, 10)
PAIR_SCATTER = (0.0, 0.01, 0.05)
RATIO = 1.75
N_PAIR = 20_000
BANDS = {"± 0.95 of a side": 0.95, "± half of a side": 0.5}
METERS = {"perfect": 0.0, "0.1 %": 1e-3}


def scattered(nominal: np.ndarray, sigma: float, rng: np.random.Generator, count: int):
    """Return banks (count, n) of positive conductances around the nominal ones."""
    return nominal * np.maximum(1 + sigma * rng.standard_normal((count, len(nominal))), 0.05)


def equal(sigma: float):
    """Return a `Draw` of equal conductances with scatter."""
    return lambda n, count, seed: scattered(
        np.ones(n), sigma, np.random.default_rng([seed, n]), count
    )


def uniform(n: int, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, n]).uniform(0, 1, (count, n))


def slope(n, bits) -> float:
    return float(np.polyfit(n, bits, 1)[0])


def single(name: str, draw) -> dict:
    """Return bits and slopes of a single bank that is known exactly."""
    curve = precision_curve(draw, SINGLE_N, n_instance=N_BANK)
    bits = {
        "mean": curve.mean.bits,
        "worst of a bank": curve.median.bits,
        "worst of all": curve.worst.bits,
    }
    return {
        "bank": name,
        "n": SINGLE_N,
        "bits": {k: v.tolist() for k, v in bits.items()},
        "slope": {k: slope(SINGLE_N, v) for k, v in bits.items()},
    }


def pair_bits(n: int, sigma: float, meter: float, band: float) -> tuple[float, float]:
    """Return worst and rms bits of pairs of ladders."""
    rng = np.random.default_rng(0)
    nominal = RATIO ** -np.arange(float(n))
    sides = [scattered(nominal, sigma, rng, N_PAIR) for _ in range(2)]
    values = np.concatenate([sides[0], -sides[1]], axis=1)
    lesser = np.minimum(*(side.sum(axis=1) for side in sides))
    targets = rng.uniform(-band, band, N_PAIR) * lesser
    readings = values * (1 + meter * rng.standard_normal(values.shape))
    mask = solve(readings, targets).mask
    members = (mask[:, None] >> np.arange(2 * n, dtype=np.uint64) & np.uint64(1)).astype(bool)
    error = np.abs((values * members).sum(axis=1) - targets) / (2 * nominal.sum())
    rms = np.sqrt(np.mean(error**2))
    return float(-np.log2(2 * error.max())), float(-np.log2(np.sqrt(12) * rms))


def pairs() -> list[dict]:
    """Return bits and slopes of pairs, by scatter, meter and band."""
    rows = []
    for band_name, band in BANDS.items():
        for meter_name, meter in METERS.items():
            for sigma in PAIR_SCATTER:
                worst, rms = np.array([pair_bits(n, sigma, meter, band) for n in PAIR_N]).T
                within = [k for k, n in enumerate(PAIR_N) if not meter or n <= 6]
                at = 2 * np.array(PAIR_N)[within]
                rows.append(
                    {
                        "band": band_name,
                        "meter": meter_name,
                        "scatter": sigma,
                        "n_per_side": PAIR_N,
                        "worst": worst.tolist(),
                        "rms": rms.tolist(),
                        "slope": {"worst": slope(at, worst[within]), "rms": slope(at, rms[within])},
                    }
                )
    return rows


def draw(singles: list[dict], pairs: list[dict]) -> None:
    """Plot "worst of a bank" for single banks, and rms for pairs."""
    with figure("bits_per_resistor", columns=2) as (left, right):
        for row in singles:
            left.plot(row["n"], row["bits"]["worst of a bank"], "o-", ms=4, label=row["bank"])
        left.set(title="single bank, worst target of the median bank, central half")
        for row in pairs:
            if row["band"].startswith("± 0.95"):
                style = "o-" if row["meter"] == "perfect" else "s--"
                label = f"scatter {row['scatter']:.0%}, {row['meter']} meter"
                at = 2 * np.array(row["n_per_side"])
                right.plot(at, row["rms"], style, ms=4, label=label)
        right.set(title="pair of ladders, rms, targets over ± 0.95 of a side")
        for axis in (left, right):
            axis.axline((8, 8), slope=1, color="k", ls=":", label="one bit per resistor")
            axis.set(xlabel="resistors", ylabel="bits of the full scale", ylim=(0, 20))
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7)


def main() -> None:
    about = machine()
    cases = {"uniform": uniform} | {f"equal, scatter {s:.0%}": equal(s) for s in EQUAL_SCATTER}
    singles, wall, _ = timed(lambda: [single(name, of) for name, of in cases.items()])
    statistics = list(singles[0]["slope"])
    print_table(
        f"single banks: bits per resistor, n = {SINGLE_N[0]} … {SINGLE_N[-1]} [{wall:.0f} s]",
        ["bank", *statistics],
        [[row["bank"], *row["slope"].values()] for row in singles],
    )
    paired, wall, _ = timed(pairs)
    print_table(
        f"pairs of ladders: bits per resistor; rms and worst bits at n per side [{wall:.0f} s]",
        ["band", "meter", "scatter", "slope worst", "slope rms", *map(str, PAIR_N)],
        [
            [r["band"], r["meter"], r["scatter"], r["slope"]["worst"], r["slope"]["rms"]]
            + [f"{rms:.1f} / {worst:.1f}" for rms, worst in zip(r["rms"], r["worst"])]
            for r in paired
        ],
    )
    draw(singles, paired)
    save_json("bits_per_resistor", {"machine": about, "single": singles, "pairs": paired})


if __name__ == "__main__":
    main()
