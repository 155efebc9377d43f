"""The sections on studies of whole networks, from the kept outputs of the scripts here."""

from typing import Any

from benchmarks.pages.tables import load, measured, table

_PLOTS = "benchmarks/results"
_MODELS = {"mlp": "784-300-100-10", "lenet5": "LeNet-5"}


def share(found: list[float]) -> str:
    """A mean share in per cent, with half the width of its interval."""
    mean, low, high = found
    return f"{mean:.1%} ± {(high - low) / 2:.2%}"


def points(name: str) -> list[dict[str, Any]]:
    """The points of a study, the ones of a point and its metrics in one."""
    return [
        {**p["point"], **p["metrics"], "yield": p["yield"]} for p in load(f"study_{name}")["points"]
    ]


def setting(name: str) -> str:
    """How a study was made, for a caption."""
    found = load(f"study_{name}")
    n = len(found.get("failures", []))
    failed = f"; {n} trials failed, whose dies are left out" if n else ""
    worst = found.get("ngspice_worst")
    differs = "" if worst is None else f", which differs by at most {worst:.0e}"
    return (
        f"`crossbar-sim study examples/studies/{name}.toml`; {found['intervals']}; "
        f"{found['n_trial']} trials; one tile of each "
        f"also solved by ngspice{differs}{failed}"
    )


def parts() -> str:
    """What every trial has, and has not."""
    found = load("study_branches")["modelled"]
    return (
        "Every trial of the studies below has, where a study does not vary it: "
        f"{'; '.join(found['on'])}. It has not: {', '.join(found['off'])}. A fifth of the training "
        "images is held out, and whatever is chosen is chosen by them; accuracies shown are those "
        "on test images."
    )


def coverage() -> str:
    """How often intervals hold the mean."""
    found = load("interval_coverage")
    words = {"normal": "normal", "skewed": "skewed (2)", "heavy": "heavy tail (6)"}
    methods = list(found["one_training"][0]["coverage"])
    rows = [
        [words[row["values"]], str(row["n"]), *(f"{row['coverage'][m]:.0%}" for m in methods)]
        for row in found["one_training"]
    ]
    nested = "; ".join(
        "{trainings} × {dies}: {own:.0%}, not {all:.0%}".format(
            **row, own=row["coverage"]["t over trainings"], all=row["coverage"]["t over all dies"]
        )
        for row in found["trainings"]
    )
    return (
        "How often an interval of 95 % holds the mean, of "
        f"{found['n_simulation']:,} simulated samples each (`benchmarks/studies/interval_coverage.py`); "
        "values and their skewness. Studies take t:\n\n"
        + table(["values", "n", *methods], rows)
        + "\n\nOver trainings and their dies, t of the trainings' means, not of all dies as if "
        f"independent: {nested}."
    )


def pivot(
    name: str, across: str, down: list[str], show: Any, heads: dict[str, str] | None = None
) -> str:
    """A table of one metric: values of one key across, of others down."""
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
    """Accuracy against branches."""
    heads = {"model.kind": "network", "prune.sparsity": "zeros", "variant": "selection"}
    return (
        "Accuracy on MNIST-5000 against branches a side (1 … 6), 64 × 64 tiles, 8-bit converters "
        f"({setting('branches')}):\n\n"
        + pivot(
            "branches",
            "bank.n",
            ["model.kind", "prune.sparsity", "variant"],
            lambda row: share(row["accuracy"]),
            heads,
        )
        + "\n\nWith more branches a weight conducts more; the feedback resistor stays, so that the dense perceptron's "
        "amplifiers saturate at 1 V, and it loses accuracy to that.\n\n"
        "![accuracy against branches](benchmarks/results/study_branches-accuracy.png)"
    )


def scatter() -> str:
    """Where noise helps."""
    return (
        f"Weight error (rms, of the largest weight) against the scatter of resistors ({setting('scatter')}):"
        "\n\n"
        + pivot(
            "scatter",
            "bank.sigma_local",
            ["bank.n", "variant"],
            lambda row: f"{row['weight_error'][0]:.2e}, {row['accuracy'][0]:.1%}",
            {"bank.n": "branches", "variant": "bank; error, accuracy at scatter"},
        )
        + "\n\nScatter makes banks of equal resistors usable: with none they have n + 1 values, with it 2^n. "
        "A ladder needs none."
        "\n\n![error against scatter](benchmarks/results/study_scatter-weight_error.png)"
    )


def wires() -> str:
    """What wires cost."""
    return (
        f"LeNet-5, 90 % pruned, against the resistance of wires, ohm a segment ({setting('wires')}); accuracy, "
        "and rms error of the matrix:\n\n"
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
    """ADC bits and tile size."""
    return (
        f"LeNet-5, 90 % pruned, against ADC bits, by tile ({setting('converters')}); accuracy, nJ per inference:"
        "\n\n"
        + pivot(
            "converters",
            "periphery.adc_bits",
            ["tile.n_word, tile.n_bit"],
            lambda row: f"{row['accuracy'][0]:.1%}, {row['energy'][0] * 1e9:.0f}",
            {"tile.n_word, tile.n_bit": "tile's side"},
        )
        + "\n\nThe ADC follows one law in bits, at the median of published designs.\n\n"
        "![accuracy against bits](benchmarks/results/study_converters-accuracy.png)"
    )


def joules() -> str:
    """Joules per inference, analog and digital."""
    found = load("study_joules")
    rows = []
    for point, energy in zip(points("joules"), found["energies"]):
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
    makers = "; ".join(_accelerator(a) for a in found["accelerators"])
    return (
        f"Joules per inference ({setting('joules')}). Digital: arithmetic on non-zero weights; the same and each "
        "weight fetched once from SRAM. The die's last column: tera-operations per joule, non-zero ones; all that "
        "the dense network would have done:\n\n"
        + table([*head, "10¹² op/J"], rows)
        + "\n\nWithin a point of the dense network's accuracy, which is trained for as many "
        "epochs, both on images held out of training, the fewest joules; on the test images: "
        f"{_cheapest()}."
        + f"\n\nPublished accelerators, 10¹² op/J at peak, their makers' figures, not measured here: {makers}."
    )


def _digital(found: dict[str, Any]) -> str:
    """Arithmetic on non-zero weights and, where a figure is known, with their fetch [nJ]."""
    joules = (found["nonzero"], found["nonzero_with_fetch"])
    return "; ".join(f"{joule * 1e9:.0f}" for joule in joules if joule is not None)


def _cheapest() -> str:
    """The points of least energy at equal accuracy on validation images, by network."""
    found = []
    for kind, network in _MODELS.items():
        mine = [p for p in points("joules") if p["model.kind"] == kind]
        dense = next(p for p in mine if p["variant"] == "dense")
        bar = dense["accuracy_validation"][0] - 0.01
        equal = [p for p in mine if p["accuracy_validation"][0] >= bar]
        best = min(equal, key=lambda p: p["energy"][0])
        ratio = dense["energy"][0] / best["energy"][0]
        gained = best["accuracy"][0] - dense["accuracy"][0]
        found.append(
            f"{network} {best['variant']}, {ratio:.1f} × fewer than dense, accuracy "
            f"{100 * gained:+.1f} points"
        )
    return "; ".join(found)


def _accelerator(found: dict[str, Any]) -> str:
    if found["per_joule"] is None:
        return f"{found['name']}: no power read"
    return f"{found['name']}: {found['per_joule'] / 1e12:.2g} ({found['certainty']})"


def design() -> str:
    """The search under a budget."""
    found = load("study_design")
    keys = list(found["best"][0]["point"])
    rows = [
        [
            *(str(best["point"][key]) for key in keys),
            f"{best['metrics']['accuracy_validation'][0]:.1%}",
            share(best["metrics"]["accuracy"]),
            f"{best['metrics']['energy'][0] * 1e9:.1f}",
            f"{best['metrics']['n_resistor'][0]:,.0f}",
        ]
        for best in found["best"]
    ]
    budget = ", ".join(f"{name} at most {bound:,.0f}" for name, bound in found["budget"].items())
    return (
        f"A search for accuracy and few joules under a budget, {budget} (`crossbar-sim study "
        f"examples/studies/design.toml --optimise`, {found['n_point']} points, "
        f"{found['seconds'] / 60:.0f} minutes; {found['intervals']}); the best by images held out of "
        "training, with their accuracy on them and on the test images:\n\n"
        + table([*keys, "held out", "tests", "nJ", "resistors"], rows)
        + "\n\n![accuracy against joules](benchmarks/results/study_design-search.png)"
    )


def life() -> list[str]:
    """Ageing, failures, temperature; with and without repair."""
    years = "hours of work; resistors that drift by 5 % rms in the first 1,000"
    stuck = "share of switches stuck open, and as many stuck closed"
    heat = "kelvin; 500 ppm/K together, 50 ppm/K apart"
    return [
        *measured(lambda: _lived("life", "life.age", years), "study_life"),
        *measured(
            lambda: _lived("failures", "life.p_stuck_open, life.p_stuck_closed", stuck),
            "study_failures",
        ),
        *measured(lambda: _lived("corners", "life.temperature", heat), "study_corners"),
    ]


def _lived(name: str, key: str, words: str) -> str:
    def show(row: dict[str, Any]) -> str:
        changed = row["n_changed"][0] / row["n_resistor"][0]
        return f"{row['accuracy'][0]:.1%}" + (f", {changed:.1%}" if changed else "")

    return (
        f"Accuracy, and switches that a repair moves, against {words} ({setting(name)}):\n\n"
        + pivot(name, key, ["variant"], show, {"variant": "the die"})
        + f"\n\n![accuracy]({_PLOTS}/study_{name}-accuracy.png)"
    )


def tuning() -> str:
    """What software gives back."""
    found = load("tuning")
    ways = list(next(iter(found["troubles"].values())))
    rows = [
        [
            way,
            *(
                f"{t[way]['accuracy']:.1%} ± {t[way]['error']:.1%}"
                for t in found["troubles"].values()
            ),
        ]
        for way in ways
    ]
    return (
        f"What software gives back, LeNet-5, digital {found['digital']:.1%}, {found['dies']} dies, standard errors "
        "(`benchmarks/studies/tuning.py`):\n\n" + table(["", *found["troubles"]], rows)
    )


def calibration() -> str:
    """Switches chosen against the wires."""
    found = load("calibration")
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
        for r in found["rows"]
    ]
    head = ["array, largest weight", "branches", "meter", "before", "after", "bank alone", "s"]
    return (
        f"Switches chosen against 1 ohm wires, 80 % pruned: rms error of the matrix, of the largest weight, before "
        f"and after {found['rounds']} rounds; bank alone is what selection misses without wires "
        "(`benchmarks/circuits/calibration.py`):\n\n" + table(head, rows)
    )


def speed() -> str:
    """The network on the die beside the digital one."""
    found = load("study_speed")
    rows = [
        [
            f"{p['sparsity']:.0%} zeros, {p['n_tile']} tiles",
            f"{p['digital_s'] * 1e3:.0f} ms",
            f"{p['wires']['ratio']:.1f} ×",
            f"{p['wires, DAC and ADC']['ratio']:.1f} ×",
        ]
        for p in found["forward"]
    ]
    study = found["study"]
    return (
        "1,000 images through LeNet-5 on 64 × 64 tiles with 1 ohm wires (`benchmarks/studies/study_speed.py`, processor "
        "time of one core):\n\n"
        + table(["network", "digital", "on the die, wires", "with DAC and ADC"], rows)
        + f"\n\nA study of ten such dies, training, selection, circuits and energy included, takes "
        f"{study['wall_s']:.0f} s on two cores, {study['busy']:.0%} of them busy."
    )
