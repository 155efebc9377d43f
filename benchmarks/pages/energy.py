"""The section on the assumptions of the energy comparison, from the kept outputs."""

from typing import Any

from benchmarks.pages.tables import load, table

_NAMES = {"digits": "MLP 64-128-64-10", "digits_cnn": "small CNN"}


def sensitivity() -> str:
    """Return the ratio with each assumption changed alone, and what the comparison leaves out."""
    kept = load("sensitivity")
    examples = kept["examples"]
    rows = [
        [rows[0]["to"], *(f"{_ratios(row)} ({row['flatters']})" for row in rows)]
        for rows in zip(*(one["changed"] for one in examples.values()))
    ]
    first = ["none", *map(_ratios, examples.values())]
    head = ["assumption changed", *(_NAMES[name] for name in examples)]
    return (
        f"The ratio is the energy of {kept['node']} arithmetic on the non-zero weights, each fetched once, over the "
        "energy of the die. It is above 1 if the die uses less. Each further row changes one assumption alone; "
        "the brackets say which side the original assumption favours. The energy of the DACs hides all others, so "
        "the second figure of each cell is the ratio if DACs worked for only 1 ns per read and then held their "
        "output for free (`benchmarks/energy/sensitivity.py`):\n\n"
        + table(head, [first, *rows])
        + "\n\nThe die's energy by part: "
        + "; ".join(f"{_NAMES[name]} {_parts(one['die'])}" for name, one in examples.items())
        + ".\n\nNot counted, for MLP 64-128-64-10:\n\n"
        + table(
            ["item", "side", "size per inference", "energy if counted, pJ"],
            _free(examples["digits"]),
        )
        + "\n\n"
        + _adc()
    )


def _ratios(row: dict[str, Any]) -> str:
    return f"{row['ratio']:.2g}; {row['ratio_brief_dac']:.2g}"


def _parts(die: dict[str, float]) -> str:
    """Return the parts of at least 1 % with their shares as text, largest first."""
    total = sum(die.values())
    large = sorted((part for part in die if die[part] >= 0.01 * total), key=lambda p: -die[p])
    return ", ".join(f"{part} {die[part] / total:.0%}" for part in large)


def _free(example: dict[str, Any]) -> list[list[str]]:
    return [
        [
            r["what"],
            r["side"],
            r["size"],
            "–" if r["energy"] is None else f"{r['energy'] * 1e12:.3g}",
        ]
        for r in example["free"]
    ]


def _adc() -> str:
    """Return the sentences on the factors of the ADC law."""
    kept = load("adc_survey")
    whole = kept["bands"][0]
    cases = ", ".join(
        "{name} {factor:.3g} × [{low:.3g}, {high:.3g}]".format(name=name, **whole[name])
        for name in ("lower quartile", "median", "upper quartile")
    )
    bands = ", ".join(
        f"{b['enob'][0]}–{b['enob'][1]} bits {b['median']['factor']:.2g}" for b in kept["bands"][1:]
    )
    return (
        f"ADCs: {whole['n_design']} published designs of at least 1 MS/s since {kept['since']} take more energy than the "
        f"envelope of all designs, 0.267 pJ + 1.446e-7 pJ · 4^bits, by these factors (95 %): {cases}. "
        f"Medians by effective bits: {bands} (`benchmarks/energy/adc_survey.py`)."
    )
