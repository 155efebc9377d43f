"""Sections on the examples, selection and the law of precision, from the kept outputs."""

from statistics import mean

from benchmarks.pages.tables import images_of, load, table

_EXAMPLES = {"digits": "MLP 64-128-64-10", "digits_cnn": "small CNN"}


def _figures(run: dict) -> dict[str, tuple[float, str]]:
    """Return a run's figures by label, each with its format."""
    rows = {f"accuracy: {label}": (value, ".2%") for label, value in run["accuracy"].items()}
    rows["pruned weights"] = (run["sparsity"], ".1%")
    rows["worst-case bits of the worst weight"] = (run["worst_bits"], ".1f")
    rows["engine compared with ngspice, worst tile"] = (run["engine_against_ngspice"], ".0e")
    rows["energy per inference, nJ"] = (run["energy_J"] * 1e9, ".3g")
    for node, ratios in run["digital_over_analog"].items():
        rows[f"{node} / die: non-zero arithmetic"] = (ratios["nonzero_ratio"], ".2g")
        if ratios["nonzero_with_fetch_ratio"] is not None:
            fetched = (ratios["nonzero_with_fetch_ratio"], ".2g")
            rows[f"{node} / die: non-zero arithmetic and weight fetch"] = fetched
    return rows


def _spread(values: list[float], form: str) -> str:
    """Return mean, minimum and maximum as text."""
    return f"{mean(values):{form}} ({min(values):{form}} … {max(values):{form}})"


def _verdict(examples: dict) -> str:
    """Return a clause if the die loses every comparison, else nothing."""
    ratios = [
        ratio
        for one in examples.values()
        for run in (one["shipped"], *one["trainings"])
        for node in run["digital_over_analog"].values()
        for key, ratio in node.items()
        if key.startswith("nonzero") and ratio is not None
    ]
    return ", which is so in every row" if max(ratios) < 1 else ""


def demo() -> str:
    """Return the section on the two examples: their own networks, and networks of other seeds."""
    examples = load("demo")["examples"]
    shipped = {name: _figures(one["shipped"]) for name, one in examples.items()}
    others = {name: [_figures(run) for run in one["trainings"]] for name, one in examples.items()}
    rows = []
    for label in next(iter(shipped.values())):
        cells = [label]
        for name in examples:
            value, form = shipped[name][label]
            cells += [f"{value:{form}}", _spread([run[label][0] for run in others[name]], form)]
        rows.append(cells)
    n = len(next(iter(others.values())))
    head = ["figure"]
    for name in examples:
        head += [_EXAMPLES[name], f"{n} trainings, each on its die"]
    lost = max(
        run["accuracy"]["float"] - run["accuracy"]["pruned"]
        for one in examples.values()
        for run in (one["shipped"], *one["trainings"])
    )
    example = examples["digits"]["shipped"]
    n_image = example["n_image"]
    return (
        "The two examples have 6 branches per side, a ladder of ratio 1.75, 5 % scatter, a 0.1 % meter and the wires "
        "of the drawn cell (`benchmarks/studies/demo.py`). For each example the table shows the network that it ships, "
        "whose figures are the same on every machine. It also shows the mean (minimum … maximum) of "
        f"{n} networks trained with other seeds for split, weights and order. With {n_image} test images, an "
        f"accuracy of 96 % is uncertain by ± {1.96 * (0.96 * 0.04 / n_image) ** 0.5:.1%} (binomial, 95 %). Pruning "
        f"costs at most {100 * lost:.1f} points of accuracy. The ADCs are at the {example['adc_case']} of published "
        "designs. If the ratio of digital energy to the die's energy is below 1, digital arithmetic uses less"
        f"{_verdict(examples)}:"
        f"\n\n{table(head, rows)}"
    )


def physics() -> str:
    """Return the section on what non-idealities cost."""
    kept = load("nonidealities")
    rows = []
    for row in kept["rows"]:
        levels = [
            f"{level if isinstance(level, str) else f'{level:g}'}: {figures['accuracy']:.1%}"
            for level, figures in zip(row["levels"], row["figures"])
        ]
        rows.append([row["name"], row["unit"], *levels])
    return (
        "Accuracy with each non-ideality alone, for the pruned perceptron that the example ships: one "
        f"network on one die ({kept['ideal']['accuracy']:.1%} with ideal parts). Each accuracy is a mean over five "
        "seeds of the parts, not of trainings (`benchmarks/studies/nonidealities.py`):\n\n"
        + table(["non-ideality", "unit", "mild", "usual", "harsh"], rows)
    )


def selection() -> str:
    """Return the section on the speed of the subset-sum solver."""
    kept = load("subset_sum_speed")
    by_n = {row["n"]: row["us_per_problem_core"] for row in kept["own_bank"]}
    pensia, ratio = kept["pensia"], {row["n"]: row["ratio"] for row in kept["cp_sat"]}
    rows = [
        [
            "one problem of 16 values (8 + 8 branches)",
            f"{by_n[16]:.1f} µs on one core, CP-SAT {ratio[16]:,.0f} × slower",
        ],
        ["one problem of 20 values", f"CP-SAT {ratio[20]:,.0f} × slower"],
        [
            "a million problems of 16 values, two cores",
            f"{kept['million']['wall_s']:.1f} s",
        ],
        [
            "397,000 problems of 21 values (Pensia et al., experiment 1)",
            f"{pensia['wall_s']:.1f} s on two cores; published: "
            f"{pensia['published']['seconds']:,} s on {pensia['published']['cores']} cores "
            f"({pensia['published']['solver']}; other hardware, including the time to build each model)",
        ],
    ]
    return (
        "Exact subset sums (`benchmarks/selection/subset_sum_speed.py`). Below 16 values CP-SAT is at least "
        f"{min(ratio.values()):,.0f} × slower:\n\n"
        + table(["task", "time"], rows)
        + "\n\n![time against the number of values](benchmarks/results/subset_sum_speed.png)"
    )


def law() -> str:
    """Return the section on the law: bits per resistor."""
    kept = load("precision_law")
    slopes, floor = kept["t1"]["slopes"], {row[0]: row[5] for row in kept["meter"]["floor"]}
    return (
        "The law (`benchmarks/selection/precision_law.py`), over 2,500 uniform banks: the worst target of the "
        f"worst bank gains {slopes['worst'][0]:.2f} bits per resistor (95 %: "
        f"{slopes['worst'][1]:.2f} … {slopes['worst'][2]:.2f}). The mean error gains "
        f"{slopes['mean'][0]:.2f} bits, but the worst target of the median bank only "
        f"{slopes['median'][0]:.2f}. With a meter of 1 %, 0.1 % or 0.01 %, up to {floor[1e-2]}, "
        f"{floor[1e-3]} or {floor[1e-4]} resistors are useful.\n\n"
        "![bits against resistors](benchmarks/results/precision_t1.png)"
    )


def bits() -> str:
    """Return the section on bits per resistor by bank, statistic and meter."""
    kept = load("bits_per_resistor")
    single = [
        [
            row["bank"],
            *(f"{row['slope'][k]:.2f}" for k in ("mean", "worst of a bank", "worst of all")),
        ]
        for row in kept["single"]
    ]
    pair = [
        [
            row["band"],
            row["meter"],
            f"{row['scatter']:.0%}",
            *(f"{row['slope'][k]:.2f}" for k in ("rms", "worst")),
            *(f"{row['rms'][n - 2]:.1f}; {row['worst'][n - 2]:.1f}" for n in (4, 6, 8)),
        ]
        for row in kept["pairs"]
    ]
    n = kept["single"][0]["n"]
    metered = {
        row["scatter"]: row["rms"]
        for row in kept["pairs"]
        if row["meter"] == "0.1 %" and "0.95" in row["band"]
    }
    more = max(b - a for a, b in zip(metered[0.0], metered[0.05]))
    return (
        "What a resistor is worth, in bits of the full scale (`benchmarks/selection/bits_per_resistor.py`). "
        f"The first table is for one bank of n = {n[0]} … {n[-1]} resistors that are known exactly, with targets "
        "in its central half. It shows bits per resistor for the mean error, for the worst target of the median "
        "bank, and for the worst target of all banks:\n\n"
        + table(["bank", "mean", "worst of a bank", "worst of all"], single)
        + "\n\nThe second table is for a pair of ladders of ratio 1.75, as in every example. It shows bits per "
        "resistor (one branch per side is two resistors; with the 0.1 % meter, which limits longer banks, up to 6 "
        "per side), then rms and worst-case bits at 4, 6 and 8 branches per side:\n\n"
        + table(["targets", "meter", "scatter", "rms", "worst", "4", "6", "8"], pair)
        + "\n\nSo one bit per resistor is the law of the mean error of random banks. It also holds for a pair's "
        "rms error if targets stay in the middle, scatter is at least 1 % and the meter is perfect. "
        "Over the full range of weights, a pair gains 0.5 to 0.6 bit per resistor in the worst case "
        "and 0.7 to 0.85 rms. Equal resistors need a scatter of 20 % for this, and gain hardly anything "
        "below 5 %. A ladder is precise without scatter: 5 % adds at most "
        f"{more:.1f} bit rms with a meter of 0.1 %, and nothing in the worst case.\n\n"
        "![bits against resistors](benchmarks/results/bits_per_resistor.png)"
    )


def published() -> str:
    """Return the section on published figures compared with ours."""
    kept = load("published_networks")
    rows = [
        [
            f"Burkholz: subset of at most 15 values from {row['values']}: mean error; failures; mean size",
            "{:.2e}; {:.2f} %; {:.2f}".format(*row["published"]),
            "{:.2e}; {:.2f} %; {:.2f}".format(*row["ours"]),
        ]
        for row in kept["b1"]
    ]
    own = kept["p1"]["a bank per row"]
    rows.append(
        [
            "Pensia et al.: 784-500-10, a bank of 21 values per row: accuracy before → after; "
            "largest error; values kept",
            "97.19 → 97.19 % (all of MNIST); ≤ 0.01; 3,725,871",
            f"{own['before']:.2f} → {own['after']:.2f} % ({images_of(kept)}); {own['max_error']:.4f}; "
            f"{own['kept']:,}",
        ]
    )
    rows += [
        [
            f"da Cunha et al.: LeNet-5 convolutions, {row['n']} values per weight, max\\|p − p'\\| / "
            "max\\|p\\| of the worst of four arrays",
            f"{row['mnist']:.2g} (MNIST), {row['fashion']:.2g} (Fashion)",
            f"{row['max']:.2g} ({row['max_5']:.1g} … {row['max_95']:.1g})",
        ]
        for row in kept["d1"]
    ]
    exact = {row["n"]: f"{row['exact']:.1%}" for row in kept["d1"]}
    return (
        "Published figures (`benchmarks/selection/published_networks.py`):\n\n"
        + table(["figure", "published", "here"], rows)
        + f"\n\nFor da Cunha et al., our figures are the median and 5 … 95 % of {kept['d1'][0]['draws']} draws of "
        f"the random values, for a network trained on {images_of(kept)}. Each published figure is one draw, for a network trained on the whole data "
        "set. The spread between draws is wide; it is a property of the values, not of a "
        "solver. Many of the results published for 20 and more values cannot be subset sums: 47 % of the "
        "published errors are zero in single precision at 20 values and 82 % at 25. With the nearest sums, as "
        f"computed here, the shares are {exact[20]} and {exact[25]}. Probably the solver returned values close to 0 and 1, which were "
        "added up without rounding. That is inferred, since the random values "
        "were not published."
    )


def proved() -> str:
    """Return the section on certified selections."""
    kept = load("certified_selections")
    rows = [
        [
            name,
            str(row["n"]),
            f"{row['pairs']:,}",
            f"{row['optimal']:,}",
            f"{row['width']:.0e}",
            *(f"{row[key]:.2g}" for key in ("select_s", "certify_s", "check_s")),
            f"{1e3 * row['exact_s_a_pair']:.2g}",
        ]
        for name, row in kept["sets"].items()
    ]
    head = ["set", "branches", "pairs of banks", "proved nearest", "widest interval", "select [s]"]
    head += ["certify [s]", "check [s]", "in whole numbers [ms a pair]"]
    return (
        "Certificates of selections: for each pair of banks, whether the chosen switches are proved to be the nearest "
        "to their target. Widths are fractions of what a bank conducts at most; times are of one core "
        "(`benchmarks/selection/certified_selections.py`). To certify includes reading the die and a second search. "
        "Other rules than the nearest choice are claimed nearest only where they are. Of "
        f"{kept['corrupted']:,} corrupted certificates the checker refused {kept['refused']:,}:\n\n"
        + table(head, rows)
    )


def aware() -> str:
    """Return the section on selection that is aware of the inputs."""
    task = load("activation_aware")["tasks"][0]
    mean = {
        (row["n"], row["method"]): (
            sum(row["accuracy"]) / len(row["accuracy"]),
            sum(row["output_error"]) / len(row["output_error"]),
        )
        for row in task["results"]
    }
    methods = {
        "alone": "each cell alone",
        "alone_scaled": "each cell alone, its best scale",
        "together": "aware, scale as for each cell alone",
        "together_layer": "aware, scale fitted per layer",
        "together_output": "aware, scale fitted per output",
    }
    rows = [
        [
            *(str(n), label, f"{mean[n, key][0]:.1%}"),
            f"{100 * (mean[n, key][0] - mean[n, 'alone'][0]):+.1f}",
            f"{mean[n, key][1]:.2%}",
        ]
        for n in (1, 2, 4)
        for key, label in methods.items()
    ]
    sizes, n_test = "-".join(map(str, task["sizes"])), task.get("test_images", 1000)
    points = {key: 100 * (mean[1, key][0] - mean[1, "alone"][0]) for key in methods}
    return (
        f"Selection that is aware of its inputs: a perceptron {sizes}, 90 % pruned, {n_test:,} test images of MNIST, three dies "
        f"(`benchmarks/selection/activation_aware.py`; digital accuracy {task['accuracy_without_die']:.1%}):"
        "\n\n"
        + table(
            ["branches per side", "selection", "test accuracy", "points gained", "output error"],
            rows,
        )
        + f"\n\nWith one branch, {points['alone_scaled']:.1f} of the "
        f"{points['together_output']:.1f} points come from a better scale alone. Choosing cells "
        f"together gives {points['together_output'] - points['alone_scaled']:.1f} more, or "
        f"{points['together']:.1f} without a better scale. With two or more branches, accuracies differ by "
        "less than their uncertainty; choosing cells together lowers the output error."
    )
