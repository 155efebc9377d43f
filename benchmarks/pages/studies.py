"""The sections on studies of whole networks, from the kept outputs."""

from typing import Any

from benchmarks.energy.accelerators import ACCELERATORS, Accelerator
from benchmarks.pages.tables import images_of, load, table

_PLOTS = "benchmarks/results"
_MODELS = {"mlp": "784-300-100-10", "lenet5": "LeNet-5"}


def share(interval: list[float]) -> str:
    """Return a mean share in per cent with half the width of its interval, as text."""
    mean, low, high = interval
    return f"{mean:.1%} ± {(high - low) / 2:.2%}"


def points(name: str) -> list[dict[str, Any]]:
    """Return the points of a study, each with its settings and metrics in one dictionary."""
    return [
        {**p["point"], **p["metrics"], "yield": p["yield"]} for p in load(f"study_{name}")["points"]
    ]


def setting(name: str) -> str:
    """Return how a study was run, for a caption."""
    kept = load(f"study_{name}")
    n = len(kept.get("failures", []))
    failed = f"; {n} trials failed, and their dies are left out" if n else ""
    worst = kept.get("ngspice_worst")
    differs = "" if worst is None else f" and differs by at most {worst:.0e}"
    return (
        f"`crossbar-sim study examples/studies/{name}.toml`; {kept['intervals']}; "
        f"{kept['n_trial']} trials; ngspice also solves one tile of each{differs}{failed}"
    )


def parts() -> str:
    """Return what every trial models, and what it does not."""
    kept = load("study_branches")["modelled"]
    return (
        "Every trial of the studies below models the following, unless a study varies it: "
        f"{'; '.join(kept['on'])}. It does not model: {', '.join(kept['off'])}. A part of the training "
        "images is held out, and all choices are made by them. The accuracies shown are those "
        "on test images: all 10,000 of MNIST, or where 1,000 are stated, those of a subset of 5,000 images."
    )


def coverage() -> str:
    """Return the section on how often intervals cover the mean."""
    kept = load("interval_coverage")
    words = {"normal": "normal", "skewed": "skewed (2)", "heavy": "heavy tail (6)"}
    methods = list(kept["one_training"][0]["coverage"])
    rows = [
        [words[row["values"]], str(row["n"]), *(f"{row['coverage'][m]:.0%}" for m in methods)]
        for row in kept["one_training"]
    ]
    nested = "; ".join(
        "{trainings} × {dies}: {own:.0%} instead of {all:.0%}".format(
            **row, own=row["coverage"]["t over trainings"], all=row["coverage"]["t over all dies"]
        )
        for row in kept["trainings"]
    )
    return (
        "How often a 95 % interval covers the mean, over "
        f"{kept['n_simulation']:,} simulated samples each (`benchmarks/studies/interval_coverage.py`). "
        "The skewness of the values is in brackets. Studies use t:\n\n"
        + table(["values (skewness)", "n", *methods], rows)
        + "\n\nOver trainings × dies, studies use t of the trainings' means. That covers the mean this often, "
        f"compared with t of all dies as if they were independent: {nested}."
    )


def pivot(
    name: str, across: str, down: list[str], show: Any, heads: dict[str, str] | None = None
) -> str:
    """Return a table of one metric.

    across: the key whose values are the columns.
    down: the keys whose values name the rows.
    show: a function from a point to the text of its cell.
    heads: names of keys for the head of the table.
    """
    rows = points(name)
    columns = list(dict.fromkeys(row[across] for row in rows))
    lines: dict[tuple[str, ...], dict[Any, str]] = {}
    for row in rows:
        key = tuple(_MODELS.get(row[k], str(row[k])) for k in down)
        lines.setdefault(key, {})[row[across]] = show(row)
    heads = heads or {}
    head = [heads.get(key, key) for key in down] + [f"{column}" for column in columns]
    body = [[*key, *(cells.get(column, "–") for column in columns)] for key, cells in lines.items()]
    return table(head, body)


def branches() -> str:
    """Return the section on accuracy against branches."""
    heads = {"model.kind": "network", "prune.sparsity": "zeros", "variant": "selection"}
    return (
        "Accuracy on MNIST against branches per side (1 … 6), with 64 × 64 tiles and 8-bit converters "
        f"({setting('branches')}):\n\n"
        + pivot(
            "branches",
            "bank.n",
            ["model.kind", "prune.sparsity", "variant"],
            lambda row: share(row["accuracy"]),
            heads,
        )
        + "\n\nWith more branches a weight conducts more, but the feedback resistor stays the same. The dense "
        "perceptron's amplifiers therefore saturate at 1 V, which costs accuracy.\n\n"
        "![accuracy against branches](benchmarks/results/study_branches-accuracy.png)"
    )


def scatter() -> str:
    """Return the section on the scatter of resistors."""
    return (
        f"Weight error (rms, as a fraction of the largest weight) against the scatter of resistors ({setting('scatter')}):"
        "\n\n"
        + pivot(
            "scatter",
            "bank.sigma_local",
            ["bank.n", "variant"],
            lambda row: f"{row['weight_error'][0]:.2e}, {row['accuracy'][0]:.1%}",
            {"bank.n": "branches", "variant": "bank; error and accuracy at scatter"},
        )
        + "\n\nScatter makes banks of equal resistors usable: without it they have n + 1 values, with it 2^n. "
        "A ladder needs no scatter."
        "\n\n![error against scatter](benchmarks/results/study_scatter-weight_error.png)"
    )


def wires() -> str:
    """Return the section on what wires cost."""
    return (
        "Accuracy of LeNet-5, 90 % pruned, and rms error of its matrices, against the resistance of wires in ohm per "
        f"segment ({setting('wires')}):\n\n"
        + pivot(
            "wires",
            "wires.r_word, wires.r_bit",
            ["variant"],
            lambda row: f"{row['accuracy'][0]:.1%}, {row['mvm_error'][0]:.1e}",
            {"variant": "switches"},
        )
        + "\n\n![accuracy against wires](benchmarks/results/study_wires-accuracy.png)"
    )


def converters() -> str:
    """Return the section on ADC bits and tile size."""
    return (
        "Accuracy of LeNet-5, 90 % pruned, and nJ per inference, against ADC bits and tile size "
        f"({setting('converters')}):"
        "\n\n"
        + pivot(
            "converters",
            "periphery.adc_bits",
            ["tile.n_word, tile.n_bit"],
            lambda row: f"{row['accuracy'][0]:.1%}, {row['energy'][0] * 1e9:.0f}",
            {"tile.n_word, tile.n_bit": "tile side"},
        )
        + "\n\nThe energy of the ADC follows one law in bits, at the median of published designs.\n\n"
        "![accuracy against bits](benchmarks/results/study_converters-accuracy.png)"
    )


def joules() -> str:
    """Return the section on joules per inference, analog and digital."""
    kept = load("study_joules")
    rows = []
    for point, energy in zip(points("joules"), kept["energies"]):
        digital = {d["node"]: d for d in energy["digital"]}
        rows.append(
            [
                _MODELS[point["model.kind"]],
                point["variant"],
                share(point["accuracy"]),
                f"{energy['energy'] * 1e9:.0f}",
                *(_digital(digital[node]) for node in ("45 nm int8", "7 nm int8")),
                f"{energy['per_joule_nonzero'] / 1e12:.1f}; {energy['per_joule_dense'] / 1e12:.1f}",
            ]
        )
    head = [
        "network",
        "weights",
        "accuracy on the die",
        "die, nJ",
        "45 nm int8, nJ",
        "7 nm int8, nJ",
    ]
    makers = "; ".join(_accelerator(a) for a in ACCELERATORS)
    return (
        f"Joules per inference ({setting('joules')}). The digital columns show the energy of arithmetic on non-zero "
        "weights, then with each weight fetched once from SRAM. The last column shows the die's tera-operations per "
        "joule, counting non-zero operations, then all operations of the dense network:\n\n"
        + table([*head, "10¹² op/J"], rows)
        + "\n\nThese settings need the fewest joules within a point of the dense network's accuracy, on images held out "
        "of training; the dense network is trained for as many epochs. Their figures on the test images: "
        f"{_cheapest()}."
        + f"\n\nPublished accelerators, 10¹² op/J at peak, not measured here (sources: `benchmarks/energy/accelerators.py`): {makers}."
    )


def _digital(energy: dict[str, Any]) -> str:
    """Return the energy of non-zero arithmetic and, if known, with weight fetch, as text [nJ]."""
    joules = (energy["nonzero"], energy["nonzero_with_fetch"])
    return "; ".join(f"{joule * 1e9:.0f}" for joule in joules if joule is not None)


def _cheapest() -> str:
    """Return the points of least energy at equal accuracy on validation images, by network."""
    cheapest = []
    for kind, network in _MODELS.items():
        mine = [p for p in points("joules") if p["model.kind"] == kind]
        dense = next(p for p in mine if p["variant"] == "dense")
        bar = dense["accuracy_validation"][0] - 0.01
        equal = [p for p in mine if p["accuracy_validation"][0] >= bar]
        best = min(equal, key=lambda p: p["energy"][0])
        ratio = dense["energy"][0] / best["energy"][0]
        gained = best["accuracy"][0] - dense["accuracy"][0]
        cheapest.append(
            f"{network} {best['variant']}, {ratio:.1f} × fewer joules than dense, accuracy "
            f"{100 * gained:+.1f} points"
        )
    return "; ".join(cheapest)


def _accelerator(part: Accelerator) -> str:
    if part.per_joule is None:
        return f"{part.name}: no power stated"
    return f"{part.name}: {part.per_joule / 1e12:.2g} ({part.certainty})"


def design() -> str:
    """Return the section on the search under a budget."""
    kept = load("study_design")
    keys = list(kept["best"][0]["point"])
    rows = [
        [
            *(str(best["point"][key]) for key in keys),
            f"{best['metrics']['accuracy_validation'][0]:.1%}",
            share(best["metrics"]["accuracy"]),
            f"{best['metrics']['energy'][0] * 1e9:.1f}",
            f"{best['metrics']['n_resistor'][0]:,.0f}",
        ]
        for best in kept["best"]
    ]
    budget = ", ".join(f"{name} at most {bound:,.0f}" for name, bound in kept["budget"].items())
    return (
        f"A search for high accuracy and few joules under a budget: {budget} (`crossbar-sim study "
        f"examples/studies/design.toml --optimise`, {kept['n_point']} points, "
        f"{kept['seconds'] / 60:.0f} minutes; {kept['intervals']}). The table shows the best points by images held "
        "out of training, with their accuracy on these images and on the test images:\n\n"
        + table([*keys, "held-out images", "test images", "nJ", "resistors"], rows)
        + "\n\n![accuracy against joules](benchmarks/results/study_design-search.png)"
    )


def age() -> str:
    """Return the section on ageing, with and without repair."""
    words = "hours of work; resistors drift by 5 % rms in the first 1,000"
    return _aged("life", "life.age", words)


def failures() -> str:
    """Return the section on switches that fail, with and without repair."""
    words = "the share of switches stuck open; as many are stuck closed"
    return _aged("failures", "life.p_stuck_open, life.p_stuck_closed", words)


def heat() -> str:
    """Return the section on temperature, with and without repair."""
    words = "temperature in kelvin; the resistors have a coefficient of 500 ppm/K with a spread of 50 ppm/K"
    return _aged("corners", "life.temperature", words)


def _aged(name: str, key: str, words: str) -> str:
    def show(row: dict[str, Any]) -> str:
        changed = row["n_changed"][0] / row["n_resistor"][0]
        return f"{row['accuracy'][0]:.1%}" + (f", {changed:.1%}" if changed else "")

    return (
        f"Accuracy, and the share of switches that a repair changes, against {words} ({setting(name)}):\n\n"
        + pivot(name, key, ["variant"], show, {"variant": "the die"})
        + f"\n\n![accuracy]({_PLOTS}/study_{name}-accuracy.png)"
    )


def tuning() -> str:
    """Return the section on the accuracy that software recovers."""
    kept = load("tuning")
    ways = list(next(iter(kept["troubles"].values())))
    rows = [
        [
            way,
            *(
                f"{t[way]['accuracy']:.1%} ± {t[way]['error']:.1%}"
                for t in kept["troubles"].values()
            ),
        ]
        for way in ways
    ]
    return (
        f"Accuracy that software recovers: LeNet-5 on {images_of(kept)}, digital accuracy {kept['digital']:.1%}, {kept['dies']} dies, with "
        "standard errors (`benchmarks/studies/tuning.py`):\n\n"
        + table(["", *kept["troubles"]], rows)
    )


def through_wires() -> str:
    """Return the section on networks trained for their own die with its wires."""
    kept = load("through_wires")
    ohms = kept["accuracy"]
    rows = [
        [way, *(f"{ohms[ohm][way]['mean']:.1%} ({_ends(ohms[ohm][way])})" for ohm in ohms)]
        for way in next(iter(ohms.values()))
    ]
    errors = [
        [
            f"{ohm} ohm, die {row['die']}",
            f"{row['as selected']:.1e}",
            f"{row['descent']:.1e} ({row['descent_s']:.0f} s)",
            f"{row['gradient']:.1e} ({row['gradient_s']:.0f} s)",
        ]
        for ohm, each in kept["matrices"].items()
        for row in each
    ]
    return (
        "A network trained for its own die with its own wires, beside other ways to bear with them: the digits perceptron, "
        f"digital accuracy {kept['digital']:.1%} on {kept['n_test']} test images (noise-aware {kept['noise_aware_digital']:.1%}), "
        f"{kept['n_die']} dies, 8-bit converters; mean and 95 % interval of the mean over dies, not over test images or trainings "
        f"(`benchmarks/studies/through_wires.py`; {kept['settings']['epochs']} epochs for each way that trains, at a rate chosen for the last way on training images):\n\n"
        + table(["wires a segment", *(f"{ohm} ohm" for ohm in ohms)], rows)
        + "\n\nThe error of the matrices alone (rms, as a fraction of each layer's largest weight, pruned places included) by "
        "coordinate descent and by the gradient of the same error through the exact circuit, with processor time:\n\n"
        + table(["", "as selected", "descent", "gradient"], errors)
        + (
            ""
            if "noise" in kept
            else "\n\nMeasured with the read noise of an earlier generator, other numbers of the same law."
        )
    )


def _ends(found: dict[str, float]) -> str:
    return f"{found['low']:.1%} … {found['high']:.1%}"


def calibration() -> str:
    """Return the section on switches chosen against the wires."""
    kept = load("calibration")
    rows = [
        [
            f"{r['size']} × {r['size']}, {r['g_max'] * 1e6:.0f} µS",
            str(r["n"]),
            f"{r['meter']:.1%}",
            f"{r['before']:.1e}",
            f"{r['after']:.1e}",
            f"{r['bank']:.1e}",
            f"{r['seconds']:.1f}",
        ]
        for r in kept["rows"]
    ]
    head = ["array, largest weight", "branches", "meter", "before", "after", "bank alone", "s"]
    return (
        "Switches chosen against 1 ohm wires, 80 % pruned: rms error of the matrix, as a fraction of the largest "
        f'weight, before and after {kept["rounds"]} rounds. "Bank alone" is the error of selection without wires '
        "(`benchmarks/circuits/calibration.py`):\n\n" + table(head, rows)
    )


def speed() -> str:
    """Return the section on the speed of the network on the die, compared with the digital one."""
    kept = load("study_speed")
    rows = [
        [
            f"{p['sparsity']:.0%} zeros, {p['n_tile']} tiles",
            f"{p['digital_s'] * 1e3:.0f} ms",
            f"{p['wires']['ratio']:.1f} ×",
            f"{p['wires, DAC and ADC']['ratio']:.1f} ×",
        ]
        for p in kept["forward"]
    ]
    study = kept["study"]
    is_older = "dies" in kept and kept["dies"]["machine"] != kept["machine"]
    return (
        f"{kept['forward'][0]['n_image']:,} images through LeNet-5 on 64 × 64 tiles with drawn wires "
        "(`benchmarks/studies/study_speed.py`, processor time of one core). On the die the maxima of pooling are taken by quicker "
        "code than torch's, which is why that may take less:\n\n"
        + table(["network", "digital", "on the die, wires", "with DAC and ADC"], rows)
        + f"\n\nA study of ten such dies, including training, selection, circuits and energy, takes "
        f"{study['wall_s']:.0f} s on two cores."
        + (" These figures are of an earlier run than those below." if is_older else "")
        + (_dies(kept["dies"], kept["forward"][-1]) if "dies" in kept else "")
    )


def _load(kept: dict[str, Any]) -> str:
    load = kept["machine"]["load_at_start"]
    return "" if load is None else f"; load {load:.1f}"


def _dies(kept: dict[str, Any], forward: dict[str, Any]) -> str:
    """Return the seconds of each step of a die, before and now."""
    least = forward["digital_s"] * (10_000 + 6_000 + 4_096) / forward["n_image"]
    sides = kept["before"], kept["now"]
    names = ("network on the die, ranges of converters", "inference, test images")
    passes = sum(kept["now"]["steps"][name] for name in (*names, "inference, held-out images"))
    steps = [
        [name, *(f"{side['steps'].get(name, 0.0):.2f} s" for side in sides)]
        for name in kept["now"]["steps"]
    ]
    totals = [["all", *(f"{side['seconds']:.2f} s" for side in sides)]]
    totals += [["dies an hour on two cores", *(f"{side['dies_an_hour']:.0f}" for side in sides)]]
    changes = ", ".join(f"{name} by {change:.0e}" for name, change in kept["change"].items())
    return (
        "\n\nThe trial of a die of LeNet-5 (90 % pruned) with all 10,000 test images, 6,000 held-out images, 4,096 "
        f"that fix ranges, energy and one tile in ngspice, by the code of commit {kept['base']} and now, in turn "
        f"on the same machine (processor time of all processes{_load(kept)}):\n\n"
        + table(["step", "before", "now"], steps + totals)
        + f"\n\nMetrics of the same die that changed, relative to their values: {changes or 'none'}. Sums in "
        "single precision are taken in another order, so a voltage at the edge of two levels may round to the other.\n\n"
        f"What bounds it now is the passes, {passes:.2f} s of {kept['now']['seconds']:.2f} s (those of the digital network "
        f"take {least:.2f} s), and the solutions for energy. Each die has its own weights and circuits, so that dies put together share neither."
    )
