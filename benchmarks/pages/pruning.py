"""The sections on pruning, from the kept outputs."""

from scipy import stats

from benchmarks.pages.tables import images_of, load, table

#: Numbers of random units per weight that the page shows.
_UNITS = (8, 16)


def baselines() -> str:
    """Return the section on all families of compression under one report."""
    kept = load("baselines")
    costs = {
        "n_bit": "bits",
        "n_mac": "MACs",
        "n_tile": "tiles",
        "n_conversion": "ADC conversions",
        "j_crossbar": "crossbar J",
        "j_digital": "digital J",
    }
    rows = []
    for name, network in kept["networks"].items():
        families = network["at_equal_accuracy"]
        best = {cost: max(f[cost]["ratio"] for f in families.values()) for cost in costs}
        for family, figures in families.items():
            if family != "dense":
                ratios = [_best(figures[cost]["ratio"], best[cost]) for cost in costs]
                rows.append([name, family, *ratios])
    dense = {name: n["rows"][0]["top1"] for name, n in kept["networks"].items()}
    accuracies = " and ".join(f"{100 * top1:.1f} %" for top1 in dense.values())
    return (
        "By which factor each family reduces a cost within a point of the dense accuracy "
        f"({accuracies} on test images), on all of MNIST with {kept['seeds']} seeds "
        "(`benchmarks/pruning/baselines.py`). Settings are chosen on images held out of training. Crossbar "
        "joules are those of DACs, amplifiers and ADCs. Digital joules are for 45 nm, with each weight fetched "
        "once. Positions of non-zero weights cost nothing, which favours single weights:\n\n"
        + table(["network", "family", *costs.values()], rows)
        + "\n\n![accuracy against cost](benchmarks/results/baselines.png)\n\n"
        "The dense network is trained for as many epochs as the pruned ones. "
        "Settings lie on a coarse grid and accuracies have a standard error of about 0.3 points, so "
        "factors of two are significant and tenths are not. Pruning single weights and then using fewer bits "
        "makes the smallest file. On a crossbar this empties few lines; channels in multiples of a tile's side cost "
        "least there. "
        "Fewer bits alone save no tile and hardly a conversion. Pruning for bit lines over all "
        "layers spares convolutions, although their lines are read most often, unless scores take the reads into "
        'account ("by reads": the score over the fourth root of the reads, a power chosen on 1,000 images of '
        "MNIST-5000). One "
        "sparsity for every layer costs the perceptron its small last layer."
    )


def _best(ratio: float, best: float) -> str:
    text = f"{ratio:.1f} ×"
    return f"**{text}**" if ratio == best else text


def lottery() -> str:
    """Return the section on winning tickets and their controls."""
    kept = load("lottery")
    curves, lead = kept["accuracy_percent"], kept["ticket_above_control_percent"]
    columns = [_spread(curve) for curve in curves.values()]
    columns += [_spread(curve, _wide(kept["seeds"])) for curve in lead.values()]
    rows = [
        [f"{share:.1f} %", *cells] for share, *cells in zip(kept["remaining_percent"], *columns)
    ]
    return (
        f"Lottery tickets, LeNet-300-100 on {images_of(kept)}, {kept['seeds']} seeds: accuracy in % with "
        "its standard error. The last columns show by how many points the ticket is above a control with the same seed, "
        f"with the 95 % t interval over {kept['seeds']} seeds (`benchmarks/pruning/lottery.py`):\n\n"
        + table(["weights left", *curves, *(f"above {name}" for name in lead)], rows)
        + "\n\n![accuracy against weights](benchmarks/results/lottery.png)"
    )


def _wide(n: int) -> float:
    """Return half the width of a 95 % t interval of n values, in standard errors."""
    return float(stats.t.ppf(0.975, n - 1))


def edge_popup() -> str:
    """Return the section on random weights that are masked, not trained."""
    kept = load("lottery")
    popup, training = kept["edge_popup"], kept["training"]
    shares = [f"{float(share):.0f} %" for share in popup["remaining_percent"]]
    trained = ", ".join(
        f"{cell} at learning rate {rate}"
        for rate, cell in zip(training["learning_rate"], _spread(training))
    )
    return (
        "Edge-popup on the same network for as many epochs; each weight is plus or minus one constant and never "
        "trained (`benchmarks/pruning/lottery.py`):\n\n"
        + table(["weights kept", *shares], [["accuracy, %", *_spread(popup)]])
        + f"\n\nTraining the dense network gives an accuracy in % of {trained}."
    )


def _spread(curve: dict, times: float = 1.0) -> list[str]:
    """Return means with a multiple of their standard errors, as text."""
    pairs = zip(curve["mean"], curve["error"])
    return [f"{mean:.1f} ± {times * error:.1f}" for mean, error in pairs]


def strong_lottery() -> str:
    """Return the section on strong tickets by construction: errors against n and the bound."""
    kept = load("strong_lottery")
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
        for row in kept["tickets"]
        if row["n"] in _UNITS
    ]
    head = ["construction", "n", "median weight error", "worst", "output error", "bound"]
    factors = "; ".join(
        f"{name}: {values['weight_median']:.1f} and {values['output']:.1f}"
        for name, values in kept["factors"].items()
        if "output" in values
    )
    whole = ", ".join(
        f"{kept['factors'][f'whole filters of {d}']['weight_median']:.2f}" for d in (1, 2, 3, 4)
    )
    accuracy = " and ".join(f"{100 * a:.1f} % ({n})" for n, a in kept["accuracy"].items())
    return (
        "Strong lottery tickets: random networks are pruned until they compute a trained one, "
        f"{accuracy} on the digits. There are n random units for each weight and sign; three seeds "
        "(`benchmarks/pruning/strong_lottery.py`):\n\n"
        + table([*head, "accuracy", "weights kept"], rows)
        + "\n\nNo output error exceeds the bound of the theorems' induction, computed from the "
        "measured weight errors. With each further unit, the median weight error and the output error "
        f"fall by these factors: {factors}. Output errors fall more slowly, because they depend on the few weights "
        "whose random units nearly all have the wrong sign: see [the law of tickets](laws.md#tickets). Whole filters gain a factor of "
        f"{whole} per unit for 1, 2, 3, 4 outputs at once.\n\n"
        "![errors against units](benchmarks/results/strong_lottery.png)"
    )


def flyhash() -> str:
    """Return the section on the recall of FlyHash, ideal and through circuits."""
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
    sizes = {"digits": 1347, "mnist": 4000}  # of an output from before it was all of MNIST
    sizes |= {name: task["stored"] for name, task in tasks.items() if "stored" in task}
    stored = " and ".join(f"{sizes[name]:,}" for name in tasks)
    heads = ["ideal", "10 % scatter", "30 % scatter", "10 %, 5 ohm wires", "10 %, 100 ohm wires"]
    return (
        f"FlyHash, recall of the ten nearest images among {stored} (`benchmarks/pruning/flyhash.py`): k winners of 20 k "
        "units, compared with k random planes as in the publication, with as many planes as units, and with as many "
        "planes as the code holds bits of information:\n\n"
        + table(["images", "k", *ways], rows)
        + "\n\nFlyHash wins only in the published comparison; planes of equal information find "
        "more. Its advantage is that resistors need not be chosen (k = 32, unprogrammed):\n\n"
        + table(["images", *heads], circuits)
    )


def compaction() -> str:
    """Return the section on the tiles of sparse layers."""
    kept = load("compaction")
    rows = []
    for row in kept["layers"]:
        if row["tile"] == 32:
            cells = [
                f"{row[way]['n_tile']:,} tiles, {row[way]['n_conversion']:,}"
                for way in ("naive", "in order", "clustered")
            ]
            rows.append([row["layer"], *cells, f"{row['clustered']['seconds']:.1f} s"])
    few, large = (
        next(row for row in kept["layers"] if row["tile"] == n and "10.0%" in row["layer"])
        for n in (32, 128)
    )
    tiles, lines, tiles_large, lines_large = (
        f"{1 - row['clustered'][key] / row['naive'][key]:.0%}"
        for row in (few, large)
        for key in ("n_tile", "n_conversion")
    )
    least = {row["grain"]: 1e9 * row["joules"] for row in kept["at_equal_accuracy"]}
    energies = ", ".join(f"{name} {joules:.1f}" for name, joules in least.items())
    return (
        "Sparse layers of 1024 × 1024 on tiles of 32 × 32: tiles, and ADC conversions per product "
        "(`benchmarks/pruning/compaction.py`):\n\n"
        + table(["layer", "naive", "in order", "clustered", "time to cluster"], rows)
        + "\n\nFor a perceptron on all of MNIST, these are the fewest nJ per inference of converters and amplifiers "
        "within a point of a dense network trained for as many epochs (on images held out of "
        f"training), by what is pruned together: {energies}. Unstructured "
        f"sparsity of 90 % saves {tiles} of the tiles and {lines} of the conversions on tiles of 32 × 32, "
        f"but {tiles_large} and {lines_large} on tiles of 128 × 128."
    )


def pruning_speed() -> str:
    """Return the section on what pruning costs compared with training."""
    kept = load("pruning_speed")
    beside, weights, resnet = kept["beside_training"], kept["ten_million_s"], kept["resnet18"]
    overhead = ", ".join(f"{name} {100 * row['overhead']:+.0f} %" for name, row in beside.items())
    slowest = max(weights, key=lambda name: weights[name])
    return (
        "Speed of pruning, processor time of one core (`benchmarks/pruning/pruning_speed.py`). Overhead "
        f"compared with the same training alone: {overhead}. Scores and masks of ten million weights take at most "
        f"{weights[slowest]:.2f} s ({slowest}). Extracting ResNet-18 "
        f"({resnet['n_parameter'] / 1e6:.1f} million parameters) takes "
        f"{1e3 * resnet['extract_s']:.0f} ms, of which its forward pass takes {1e3 * resnet['forward_s']:.0f} ms. "
        f"Folding its batch norms takes {1e3 * resnet['fold_s']:.0f} ms."
    )
