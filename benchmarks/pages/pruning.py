"""The README's sections on pruning, from the kept outputs of the scripts here."""

from scipy import stats

from benchmarks.pages.tables import load, measured, table

#: Numbers of random units that the README shows.
_UNITS = (8, 16)


def sections() -> list[str]:
    """Return the sections in order, as Markdown."""
    return [
        *measured(baselines, "baselines"),
        lottery(),
        edge_popup(),
        strong_lottery(),
        flyhash(),
        *measured(compaction, "compaction"),
        pruning_speed(),
    ]


def baselines() -> str:
    """Every family under one report."""
    found = load("baselines")
    costs = {
        "n_bit": "bits",
        "n_mac": "MACs",
        "n_tile": "tiles",
        "n_conversion": "ADC conversions",
        "j_crossbar": "crossbar J",
        "j_digital": "digital J",
    }
    rows = []
    for name, network in found["networks"].items():
        families = network["at_equal_accuracy"]
        best = {cost: max(f[cost]["ratio"] for f in families.values()) for cost in costs}
        for family, figures in families.items():
            if family != "dense":
                ratios = [_best(figures[cost]["ratio"], best[cost]) for cost in costs]
                rows.append([name, family, *ratios])
    dense = {name: n["rows"][0]["top1"] for name, n in found["networks"].items()}
    accuracies = " and ".join(f"{100 * top1:.1f} %" for top1 in dense.values())
    return (
        "How many times less each family costs within a point of the dense accuracy "
        f"({accuracies} on test images; settings are picked on images held out of training), "
        f"MNIST-5000, {found['seeds']} seeds (`benchmarks/pruning/baselines.py`; crossbar "
        "joules are those of DACs, amplifiers and ADCs, digital ones 45 nm with weights fetched "
        "once; positions of non-zeros cost nothing, which favours single weights):\n\n"
        + table(["network", "family", *costs.values()], rows)
        + "\n\n![accuracy against cost](benchmarks/results/baselines.png)\n\n"
        "The dense network is trained for as many epochs as those pruned. "
        "Settings lie on a coarse grid and accuracies have a standard error of about 0.3 points: "
        "read factors of two, not tenths. Single weights, then fewer bits, make the smallest file; "
        "on a crossbar they empty few lines, and channels in multiples of a tile's side cost "
        "least. "
        "Fewer bits alone save no tile and hardly a conversion. Pruning for bit lines over all "
        "layers spares convolutions, whose lines are read most often, unless scores weigh how "
        "often (by reads: over the fourth root of it, a power chosen on test images of two other "
        "seeds); one "
        "sparsity for every layer costs the perceptron its small last layer."
    )


def _best(ratio: float, best: float) -> str:
    text = f"{ratio:.1f} ×"
    return f"**{text}**" if ratio == best else text


def lottery() -> str:
    """Winning tickets and their controls."""
    found = load("lottery")
    curves, lead = found["accuracy_percent"], found["ticket_above_control_percent"]
    columns = [_spread(curve) for curve in curves.values()]
    columns += [_spread(curve, _wide(found["seeds"])) for curve in lead.values()]
    rows = [
        [f"{share:.1f} %", *cells] for share, *cells in zip(found["remaining_percent"], *columns)
    ]
    return (
        f"Lottery tickets, LeNet-300-100 on MNIST-5000, {found['seeds']} seeds, accuracy in % with "
        "its standard error; and by how many points the ticket is above a control on the same seed, "
        f"with the t interval of 95 % of {found['seeds']} seeds (`benchmarks/pruning/lottery.py`):\n\n"
        + table(["weights left", *curves, *(f"above {name}" for name in lead)], rows)
        + "\n\n![accuracy against weights](benchmarks/results/lottery.png)"
    )


def _wide(n: int) -> float:
    """Half of a t interval of 95 % of n values, in standard errors."""
    return float(stats.t.ppf(0.975, n - 1))


def edge_popup() -> str:
    """Random weights that are only masked, beside training."""
    found = load("lottery")
    popup, training = found["edge_popup"], found["training"]
    shares = [f"{float(share):.0f} %" for share in popup["remaining_percent"]]
    trained = ", ".join(
        f"{cell} at rate {rate}" for rate, cell in zip(training["learning_rate"], _spread(training))
    )
    return (
        "Edge-popup on the same network and as many epochs, weights ± one constant and never "
        "trained (`benchmarks/pruning/lottery.py`):\n\n"
        + table(["weights kept", *shares], [["accuracy, %", *_spread(popup)]])
        + f"\n\nTraining the dense network gives {trained}."
    )


def _spread(curve: dict, times: float = 1.0) -> list[str]:
    """Means with their standard errors, times a factor."""
    pairs = zip(curve["mean"], curve["error"])
    return [f"{mean:.1f} ± {times * error:.1f}" for mean, error in pairs]


def strong_lottery() -> str:
    """The constructions: errors against n, and against the bound."""
    found = load("strong_lottery")
    rows = [
        [
            row["name"],
            str(row["n"]),
            f"{row['weight_median']:.1e}",
            f"{row['weight_worst']:.2f}",
            f"{row['output']:.3f}",
            f"{row['bound']:.2g}",
            f"{100 * row['accuracy']:.1f} %",
            f"{row['kept']:,.0f} of {row['random']:,.0f}",
        ]
        for row in found["tickets"]
        if row["n"] in _UNITS
    ]
    head = ["construction", "n", "median weight error", "worst", "output error", "bound"]
    factors = "; ".join(
        f"{name}: {values['weight_median']:.1f} and {values['output']:.1f}"
        for name, values in found["factors"].items()
        if "output" in values
    )
    whole = ", ".join(
        f"{found['factors'][f'whole filters of {d}']['weight_median']:.2f}" for d in (1, 2, 3, 4)
    )
    accuracy = " and ".join(f"{100 * a:.1f} % ({n})" for n, a in found["accuracy"].items())
    return (
        "Strong lottery tickets: random networks pruned until they compute a trained one, "
        f"{accuracy} on the digits; n random units for each weight and sign, three seeds "
        "(`benchmarks/pruning/strong_lottery.py`):\n\n"
        + table([*head, "accuracy", "weights kept"], rows)
        + "\n\nNo output is ever beyond the bound of the theorems' induction, taken with the "
        "measured weight errors. For each unit more the median weight error and the output error "
        f"fall by a factor of: {factors}. Outputs fall slower, because they feel the few weights "
        "whose random units have nearly all the wrong sign. Whole filters gain "
        f"{whole} a unit for 1, 2, 3, 4 outputs at once.\n\n"
        "![errors against units](benchmarks/results/strong_lottery.png)"
    )


def flyhash() -> str:
    """Recall of the fly's hash, ideal and through circuits."""
    tasks = load("flyhash")["tasks"]
    ways = list(dict.fromkeys(row["way"] for row in tasks["digits"]["codes"]))
    rows = []
    for name, task in tasks.items():
        for k in (4, 16, 64):
            same = {row["way"]: row["recall"] for row in task["codes"] if row["k"] == k}
            rows.append([name, str(k), *(f"{100 * same[way]:.0f} %" for way in ways)])
    circuits = []
    for name, task in tasks.items():
        parts = task["circuits"]
        spread = {row["spread"]: row["recall"] for row in parts["spread"]}
        ohms = {row["ohm"]: row["recall"] for row in parts["wires"]}
        figures = (parts["ideal"]["recall"], spread[0.1], spread[0.3], ohms[5.0], ohms[100.0])
        circuits.append([name, *(f"{100 * recall:.0f} %" for recall in figures)])
    heads = ["ideal", "10 % scatter", "30 % scatter", "10 %, 5 ohm wires", "10 %, 100 ohm wires"]
    return (
        "FlyHash, recall of the ten nearest images (`benchmarks/pruning/flyhash.py`): k winners of 20 k "
        "units, beside k random planes as in the publication, as many planes as units, and as many "
        "as the code holds bits of information:\n\n"
        + table(["images", "k", *ways], rows)
        + "\n\nThe fly wins by the published comparison alone; planes of equal information find "
        "more. What it has is that resistors need not be chosen (k = 32, unprogrammed):\n\n"
        + table(["images", *heads], circuits)
    )


def compaction() -> str:
    """Tiles of sparse layers."""
    found = load("compaction")
    rows = []
    for row in found["layers"]:
        if row["tile"] == 32:
            cells = [
                f"{row[way]['n_tile']:,} tiles, {row[way]['n_conversion']:,}"
                for way in ("naive", "in order", "clustered")
            ]
            rows.append([row["layer"], *cells, f"{row['clustered']['seconds']:.1f} s"])
    few, large = (
        next(row for row in found["layers"] if row["tile"] == n and "10.0%" in row["layer"])
        for n in (32, 128)
    )
    tiles, lines, tiles_large, lines_large = (
        f"{1 - row['clustered'][key] / row['naive'][key]:.0%}"
        for row in (few, large)
        for key in ("n_tile", "n_conversion")
    )
    least = {row["grain"]: 1e9 * row["joules"] for row in found["at_equal_accuracy"]}
    energies = ", ".join(f"{name} {joules:.1f}" for name, joules in least.items())
    return (
        "Sparse layers of 1024 × 1024 on tiles of 32 × 32, tiles and ADC conversions a product "
        "(`benchmarks/pruning/compaction.py`):\n\n"
        + table(["layer", "naive", "in order", "clustered", "time to cluster"], rows)
        + "\n\nA perceptron on MNIST-5000, least nJ an inference of converters and amplifiers "
        "within a point of a dense network trained for as many epochs (by images held out of "
        f"training), by what is pruned together: {energies}. Unstructured "
        f"sparsity of 90 % saves {tiles} of the tiles and {lines} of the conversions at 32 × 32, "
        f"but {tiles_large} and {lines_large} at 128 × 128."
    )


def pruning_speed() -> str:
    """What pruning costs beside training."""
    found = load("pruning_speed")
    beside, weights, resnet = found["beside_training"], found["ten_million_s"], found["resnet18"]
    overhead = ", ".join(f"{name} {100 * row['overhead']:+.0f} %" for name, row in beside.items())
    slowest = max(weights, key=lambda name: weights[name])
    return (
        "Speed of pruning, processor time of one core (`benchmarks/pruning/pruning_speed.py`): on top of "
        f"its own training, {overhead}; scores and masks of ten million weights at most "
        f"{weights[slowest]:.2f} s ({slowest}); reading out ResNet-18 "
        f"({resnet['n_parameter'] / 1e6:.1f} million parameters) "
        f"{1e3 * resnet['extract_s']:.0f} ms, {1e3 * resnet['forward_s']:.0f} ms of it its own "
        f"pass, and folding its batch norms {1e3 * resnet['fold_s']:.0f} ms."
    )
