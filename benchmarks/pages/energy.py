"""The section on what the energy comparison assumes, from the kept outputs of the scripts here."""

from typing import Any

from benchmarks.pages.tables import load, table

_NAMES = {"digits": "MLP 64-128-64-10", "digits_cnn": "small CNN"}


def sensitivity() -> str:
    """Each assumption changed alone: the ratio before and after; and what is free, with its size."""
    found = load("sensitivity")
    examples = found["examples"]
    rows = [
        [rows[0]["to"], *(f"{_ratios(row)} ({row['flatters']})" for row in rows)]
        for rows in zip(*(one["changed"] for one in examples.values()))
    ]
    first = ["as it is", *map(_ratios, examples.values())]
    head = ["one assumption changed", *(_NAMES[name] for name in examples)]
    return (
        f"Energy of {found['node']} arithmetic on the non-zero weights, each fetched once, over the energy of the "
        "die: the ratio, above 1 if the die uses less, and then with one assumption changed alone; in brackets "
        "whom the assumption flatters as it is made. Second figures: the same if DACs worked for 1 ns a read only "
        "and then held for nothing, since their energy hides all others (`benchmarks/energy/sensitivity.py`):\n\n"
        + table(head, [first, *rows])
        + "\n\nThe die's energy by part: "
        + "; ".join(f"{_NAMES[name]} {_parts(one['die'])}" for name, one in examples.items())
        + ".\n\nNot counted on either side, MLP 64-128-64-10:\n\n"
        + table(["free", "side", "size per inference", "would be, pJ"], _free(examples["digits"]))
        + "\n\n"
        + _adc()
    )


def _ratios(found: dict[str, Any]) -> str:
    return f"{found['ratio']:.2g}; {found['ratio_brief_dac']:.2g}"


def _parts(die: dict[str, float]) -> str:
    """The parts of at least a hundredth, largest first."""
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
    """The factors of the ADC law."""
    found = load("adc_survey")
    whole = found["bands"][0]
    cases = ", ".join(
        "{name} {factor:.3g} × [{low:.3g}, {high:.3g}]".format(name=name, **whole[name])
        for name in ("lower quartile", "median", "upper quartile")
    )
    bands = ", ".join(
        f"{b['enob'][0]}–{b['enob'][1]} bits {b['median']['factor']:.2g}"
        for b in found["bands"][1:]
    )
    return (
        f"ADCs: {whole['n_design']} published designs of 1 MS/s and more since {found['since']} stand above the "
        f"envelope of all, 0.267 pJ + 1.446e-7 pJ · 4^bits, by {cases} (95 %); medians by effective bits: {bands} "
        "(`benchmarks/energy/adc_survey.py`)."
    )
