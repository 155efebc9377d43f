"""What a run found, in sentences for whoever reads no further; every number is of report.json."""

from collections.abc import Mapping
from typing import Any

from crossbar_sim.findings.non_idealities import TOGETHER
from crossbar_sim.report.formats import (
    SIGNIFICANT,
    count,
    interval,
    metric,
    percent,
    plain,
    probability,
    si,
    small_percent,
)

Numbers = Mapping[str, Any]
#: Names of the networks that are not on a die.
DIGITAL = ("float", "pruned", "digital")
#: Of the part of the error that the choice of switches leaves.
SELECTION = "the choice of switches"
#: Parts of the energy, as a sentence names them; others go by their own name.
_PARTS = {
    "ADC": "the ADCs",
    "DAC": "the DACs",
    "amplifier": "the amplifiers",
    "cell": "the resistors themselves",
    "digital": "the digital additions",
    "charging": "charging the wires",
}
_PLURAL = ("ADC", "DAC", "amplifier", "cell", "digital")


def headline(r: Numbers) -> list[dict[str, str]]:
    """Return the title and the text of each statement at the top of a run's report.

    r: the numbers of the report.
    """
    return [
        {"title": "Accuracy", "text": accuracy(r)},
        {"title": "What limits the accuracy", "text": limit(r)},
        {"title": "What limits the energy", "text": energy(r)},
        {"title": "Against digital arithmetic", "text": rivals(r)},
    ]


def reference(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of the digital network that was mapped."""
    return [row for row in rows if row["network"] in DIGITAL][-1]


def samples(r: Numbers) -> str:
    """Return what a test sample is called: an image, where it is known to be one."""
    source = str(r["config"]["data"]["source"])
    known = source in ("digits", "mnist", "mnist5000") or r["config"]["data"].get("size")
    return "image" if known else "sample"


# ---- accuracy ------------------------------------------------------------------------------------


def accuracy(r: Numbers) -> str:
    """Return how well the network works on the die, beside the digital one."""
    name, rows = r["measure"]["metric"], r["measure"]["scores"]
    die, digital = rows[-1], reference(rows)
    n, noun = r["accuracy"][-1]["n_image"], samples(r)
    same = "the same pruned network" if r["config"]["prune"] else "the same network"
    if name == "agreement":
        return (
            f"For {metric(die['score'], name)} of {n:,} test {noun}s, the largest output on this "
            f"die is that of {same} on a digital processor{_range(die)}."
        )
    if die["p"] is None:
        return (
            f"On this die, the network's {name} on {n:,} test {noun}s is "
            f"{metric(die['score'], name)}; that of {same} on a digital processor is "
            f"{metric(digital['score'], name)}. This metric is no share of the {noun}s, so no "
            "interval is stated."
        )
    right = {"accuracy": "right", "top-5": "among its five largest outputs"}[name]
    return (
        f"On this die, the network gets {percent(die['score'])} of {n:,} test {noun}s "
        f"{right}{_range(die)}, {_beside(die, digital, same, noun)}."
    )


def _range(row: Numbers) -> str:
    return "" if row["low"] is None else f" (95 %: {interval(row['low'], row['high'])})"


def _beside(die: Numbers, digital: Numbers, same: str, noun: str) -> str:
    """Return how one network differs from another on the same samples."""
    points = 100 * (die["score"] - digital["score"])
    if die["lost"] == die["gained"] == 0:
        return f"exactly those of {same} on a digital processor"
    how = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"
    if die["lost"] == die["gained"]:
        how = "as many as"
    return f"{how} {same} on a digital processor: {exchanged(die, noun)}"


def exchanged(row: Numbers, noun: str) -> str:
    """Return the samples lost and gained, and what that shows."""
    if row["lost"] == row["gained"] == 0:
        return f"no {noun} lost or gained"
    shown = "more than chance explains" if row["p"] < SIGNIFICANT else "which chance alone explains"
    return (
        f"{count(row['lost'], noun)} lost, {row['gained']:,} gained, {shown} "
        f"({probability(row['p'])})"
    )


# ---- what limits the accuracy --------------------------------------------------------------------


def limit(r: Numbers) -> str:
    """Return the largest error of the outputs, and what taking it away would do."""
    if r["config"]["calibrate"]["rounds"]:
        return (
            "The switches were chosen against the wires, so no non-ideality alone says what it "
            "costs here; none is named."
        )
    errors = single_errors(r)
    if not any(errors.values()):
        return "Nothing: every part that this run models is ideal."
    first, *others = sorted(errors, key=lambda name: -errors[name])
    text = f"The largest single error of the outputs is that of {_the(first)}: "
    text += f"{small_percent(errors[first])} of their rms"
    if others and errors[others[0]]:
        text += f", before {_the(others[0])} with {small_percent(errors[others[0]])}"
    return f"{text}.{_significance(r, first)}{_without(r, first)}"


def single_errors(r: Numbers) -> dict[str, float]:
    """Return the error of the outputs by each non-ideality alone, and by the choice of switches."""
    errors = {row["term"]: row["error"] for row in r["costs"] if row["term"] != TOGETHER}
    ideal = next(row for row in r["accuracy"] if row["network"] == "mapped, ideal wires")
    return {SELECTION: ideal["relative_error"] or 0.0} | errors


def _the(term: str) -> str:
    return {"DAC": "the DACs", "ADC": "the ADCs", "noise": "noise"}.get(
        term, term if term == SELECTION else f"“{term}”"
    )


def _significance(r: Numbers, term: str) -> str:
    """Return whether the non-ideality alone changes the accuracy."""
    rows = {row["term"]: row for row in r["costs"]}
    rows[SELECTION] = next(x for x in r["accuracy"] if x["network"] == "mapped, ideal wires")
    row, noun = rows[term], samples(r)
    if row["p"] is None:
        return ""
    if row["lost"] == row["gained"] == 0:
        return f" Alone it changes no {noun}'s answer from right to wrong or back."
    return f" Alone: {exchanged(row, noun)}."


def _without(r: Numbers, term: str) -> str:
    """Return what the run would be without its largest non-ideality; nothing if that is unknown."""
    row = next((x for x in r["changes"] if x["change"] == f"{term}: none"), None)
    if row is None:
        return ""
    now = next(x["error"] for x in r["costs"] if x["term"] == TOGETHER)
    text = (
        f" Without it, all else as it is, the error of the outputs would be "
        f"{small_percent(row['error'])} instead of {small_percent(now)}"
    )
    part = _costliest_part(r) if term == "wires and drivers" else ""
    return f"{text}{_and_samples(row, samples(r))}.{part}"


def _and_samples(row: Numbers, noun: str) -> str:
    if row["p"] is None:
        return ""
    return f", with {exchanged(row, noun)}"


def _costliest_part(r: Numbers) -> str:
    """Return which part of the tiles' wires costs most, by the sensitivities."""
    names = {"driver": "drivers", "word": "word lines", "bit": "bit lines", "tia": "TIA inputs"}
    rows = r["part_costs"]["layers"]
    sums = {name: sum(row[key] for row in rows) for key, name in names.items()}
    if not rows or max(sums.values()) <= 0:
        return ""
    part = max(sums, key=lambda name: sums[name])
    return (
        f" Of the wires, the {part} cost most: without their resistance, the cross-entropy would "
        f"fall by {si(sums[part], 'nat')}, to first order."
    )


# ---- energy --------------------------------------------------------------------------------------


def energy(r: Numbers) -> str:
    """Return what takes most of the energy, and what less of it would save."""
    parts, total = r["energy"]["analog"], r["energy"]["analog_total"]
    first, second, *_ = sorted(parts, key=lambda name: -parts[name])
    takes = "take" if first in _PLURAL else "takes"
    text = (
        f"An inference takes {si(total, 'J')}. {_part(first)[0].upper()}{_part(first)[1:]} {takes} "
        f"{percent(parts[first] / total)} of it, before {_part(second)} with "
        f"{percent(parts[second] / total)}."
    )
    row = next((x for x in r["changes"] if x["change"].startswith(first) and x["saved"]), None)
    if row is None:
        return text
    saved = f"{si(row['saved'], 'J')} ({percent(row['saved'] / total)})"
    return (
        f"{text} With {row['change'].partition(': ')[2]} they would save {saved}{_price(r, row)}."
    )


def _price(r: Numbers, row: Numbers) -> str:
    """Return what a change costs: samples, or the error of the outputs without labels."""
    now = next(x["error"] for x in r["costs"] if x["term"] == TOGETHER)
    before, after = small_percent(now), small_percent(row["error"])
    kept = f"stay at {before}" if before == after else f"be {after} instead of {before}"
    return f", and the error of the outputs would {kept}{_and_samples(row, samples(r))}"


def _part(name: str) -> str:
    return _PARTS.get(name, f"the part “{name}”")


def rivals(r: Numbers) -> str:
    """Return how the energy compares with the arithmetic of the non-zero weights, with fetching."""
    rows = {d["node"]: d["nonzero_with_fetch_ratio"] for d in r["energy"]["digital"]}
    known = {node: ratio for node, ratio in rows.items() if ratio is not None}
    if not known:
        return "No digital figure includes the fetching of weights, so nothing is compared."
    words = [f"{_times(x)} {node}" for node, x in known.items()]
    best = max(known.values()), min(known.values())
    won = "wins" if best[1] > 1 else "loses" if best[0] <= 1 else "wins in part"
    return (
        f"The die {won}: for the same non-zero weights and their fetching from memory, it takes "
        f"{' and '.join(words)}. What neither side counts is listed below."
    )


def _times(ratio: float) -> str:
    """Return how much the die takes, of what is `ratio` times as much."""
    times = f"{max(ratio, 1 / ratio):.2g}"
    if times == "1":
        return "about as much as"
    return f"{plain(float(times))} × {'less than' if ratio > 1 else 'as much as'}"


# ---- a measured wafer ----------------------------------------------------------------------------


def wafer_headline(r: Numbers) -> list[dict[str, str]]:
    """Return the title and the text of each statement at the top of a wafer's report."""
    return [
        *([{"title": "Accuracy", "text": wafer_accuracy(r)}] if r["accuracy"] else []),
        {"title": "Cells", "text": wafer_cells(r)},
        {"title": "Branches", "text": wafer_branches(r)},
    ]


def wafer_accuracy(r: Numbers) -> str:
    """Return what the new switches do to the accuracy on the measured die."""
    *_, old, new = r["accuracy"]
    against = new["against_old"]
    return (
        f"On the measured die, the network gets {percent(old['accuracy'])} of {new['n_image']:,} "
        f"test samples right with its old switches{_range(old)}, and "
        f"{percent(new['accuracy'])} re-selected{_range(new)}: {exchanged(against, 'sample')}."
    )


def wafer_cells(r: Numbers) -> str:
    """Return how many cells had to change, and how many could not be brought to their targets."""
    off, left, n_switch = r["cells_off"], r["cells_unmended"], r["changes"]["switches"]
    text = (
        f"{off:,} of {count(r['cells'], 'cell')} were further than {small_percent(r['tolerance'])} "
        f"of their layer's largest weight from their targets. "
    )
    if not off:
        return f"{text}No switch changes."
    end = f"{count(left, 'cell')} stay out of reach" if left else "every cell reaches its target"
    end = "1 cell stays out of reach" if left == 1 else end
    return f"{text}{r['changes']['n']:,} of {n_switch:,} switches change; then {end}."


def wafer_branches(r: Numbers) -> str:
    """Return how many branches are defective, and how far the others are from nominal."""
    b = r["branches"]
    bad = b["missing"] + b["out_of_range"]
    sigmas = [row["sigma"] for row in r["nominal"] if row["sigma"] is not None]
    text = f"{bad:,} of {b['n']:,} branches are defective"
    if bad:
        text += f": {b['missing']:,} without a reading, {b['out_of_range']:,} out of range"
    if b["stuck"]:
        text += f"; {count(b['stuck'], 'switch').replace('switchs', 'switches')} stuck"
    if sigmas:
        text += f". The others scatter about nominal by up to {percent(max(sigmas))} (sigma)"
    return f"{text}."


# ---- what the charts show ------------------------------------------------------------------------


def findings(r: Numbers) -> dict[str, str]:
    """Return what each chart of a run's report shows, in a sentence, by its name."""
    errors = [layer["error"] for layer in r["layers"]]
    median = max(error["median"] for error in errors)
    worst = max(error["worst"] for error in errors)
    mvm, energy = r["mvm_error"], r["energy"]
    cheapest = min(energy["digital"], key=lambda row: row["nonzero"])
    yardstick = r["yardstick"]
    found = {
        "selection": f"In every layer, half of the weights err by {small_percent(median)} of the "
        f"largest weight or less; the worst errs by {small_percent(worst)}.",
        "outputs": f"Outputs of the circuits differ from their targets by "
        f"{small_percent(mvm['rms'])} of the largest (rms), at worst by "
        f"{small_percent(mvm['worst'])}.",
        "ir_drop": f"With every input on, a cell of this tile loses at most "
        f"{percent(r['largest_ir_drop'])} of its word line's voltage in the wires.",
        "energy": f"An inference takes {si(energy['analog_total'], 'J')} on the die; the same "
        f"products take {si(cheapest['nonzero'], 'J')} in {cheapest['node']} arithmetic, weights "
        "not fetched.",
        "yardstick": f"One dense 100 × 100 product takes {si(yardstick['analog_total'], 'J')} on "
        f"such a die.",
    }
    if tile := r["part_costs"]["tile"]:
        found["part_costs"] = f"The wires of {tile} cost most; orange costs, purple helps."
    return found
