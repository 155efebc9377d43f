"""The sections on circuits, selection and the law, from the kept outputs of the scripts here."""

from statistics import mean

from benchmarks.pages.tables import load, table

_EXAMPLES = {"digits": "MLP 64-128-64-10", "digits_cnn": "small CNN"}


def _figures(run: dict) -> dict[str, tuple[float, str]]:
    """A run's figures by label, each with its format."""
    rows = {label: (value, ".2%") for label, value in run["accuracy"].items()}
    rows["pruned weights"] = (run["sparsity"], ".1%")
    rows["worst-case bits of the worst weight"] = (run["worst_bits"], ".1f")
    rows["engine against ngspice, worst tile"] = (run["engine_against_ngspice"], ".0e")
    rows["energy per inference, nJ"] = (run["energy_J"] * 1e9, ".3g")
    for node, ratios in run["digital_over_analog"].items():
        rows[f"{node} / die: non-zero arithmetic"] = (ratios["nonzero_ratio"], ".2g")
        if ratios["nonzero_with_fetch_ratio"] is not None:
            fetched = (ratios["nonzero_with_fetch_ratio"], ".2g")
            rows[f"{node} / die: and fetching the weights"] = fetched
    return rows


def _spread(values: list[float], form: str) -> str:
    """Mean, least and most."""
    return f"{mean(values):{form}} ({min(values):{form}} … {max(values):{form}})"


def _verdict(found: dict) -> str:
    """Say so where the die loses every comparison."""
    ratios = [
        ratio
        for one in found.values()
        for run in (one["shipped"], *one["trainings"])
        for node in run["digital_over_analog"].values()
        for key, ratio in node.items()
        if key.startswith("nonzero") and ratio is not None
    ]
    return ", and in all of these it does" if max(ratios) < 1 else ""


def demo() -> str:
    """The two examples: their own networks, and networks of other seeds."""
    found = load("demo")["examples"]
    shipped = {name: _figures(one["shipped"]) for name, one in found.items()}
    others = {name: [_figures(run) for run in one["trainings"]] for name, one in found.items()}
    rows = []
    for label in next(iter(shipped.values())):
        cells = [label]
        for name in found:
            value, form = shipped[name][label]
            cells += [f"{value:{form}}", _spread([run[label][0] for run in others[name]], form)]
        rows.append(cells)
    n = len(next(iter(others.values())))
    head = ["test accuracy and more"]
    for name in found:
        head += [_EXAMPLES[name], f"{n} trainings, each on its die"]
    lost = max(
        run["accuracy"]["float"] - run["accuracy"]["pruned"]
        for one in found.values()
        for run in (one["shipped"], *one["trainings"])
    )
    n_image = found["digits"]["shipped"]["n_image"]
    return (
        "The two examples, 6 branches a side, ladder 1.75, 5 % scatter, 0.1 % meter, wires of the drawn cell "
        f"(`benchmarks/studies/demo.py`): the network that each ships, whose figures are the same on every machine, and "
        f"{n} trained from other seeds of split, weights and order, mean (least … most). {n_image} test images: an "
        f"accuracy of 96 % is known to ± {1.96 * (0.96 * 0.04 / n_image) ** 0.5:.1%} (binomial, 95 %). Pruning "
        f"costs {lost:.1%} at most. ADCs at the {found['digits']['shipped']['adc_case']} of published designs. A "
        f"ratio below 1 means that digital arithmetic uses less energy{_verdict(found)}:"
        f"\n\n{table(head, rows)}"
    )


def circuits() -> str:
    """Speed of the engine, and of ngspice."""
    found, methods = load("circuits"), load("ngspice_methods")
    matrices = {row["n"]: row for row in found["matrix"]}
    rows = [
        [
            f"{row['n']} × {row['n']}",
            f"{1e3 * row['ours_s']:.3g} ms",
            f"{row['ratio']:.0f} × (differ by {row['error']:.0e})",
            f"{matrices[row['n']]['ours_s']:.2g} s",
            f"{matrices[row['n']]['ratio']:.0f} ×",
        ]
        for row in found["badcrossbar"]
    ]
    head = ["array, 1 ohm wires", "new array, one vector", "badcrossbar", "transfer matrix"]
    batch, units = found["batch"], found["superposed"]
    sweeps = {row["n"]: row for row in methods["vectors"]}
    sizes = ", ".join(
        f"{row['alter_over_sweep']:.1f} × and {row['rebuild_over_sweep']:.0f} × at {n}"
        for n, row in sweeps.items()
    )
    return (
        "The engine beside its peers, processor time (`benchmarks/circuits/peers.py`):\n\n"
        + table([*head, "by splu solves"], rows)
        + f"\n\n{_crosssim(found['crosssim'])}\n\n{batch['vectors']:,} vectors at {batch['n']} × "
        f"{batch['n']}, by superposition (a transfer matrix, then a product): "
        f"{units['ratio']:,.0f} × faster than ngspice with the same trick ({units['n']} unit vectors "
        f"and a product, {units['ngspice_s_scaled']:.0f} s), {batch['ratio']:,.0f} × faster than "
        f"ngspice's sweep over every vector ({batch['ngspice_s_scaled']:.0f} s; a ratio that grows "
        f"with the vectors). Of ngspice, {batch['ngspice_vectors_solved']} vectors were solved and "
        f"the time scaled; results differ by {max(batch['error'], units['error']):.0e}. 1024 × 1024: {found['large']['cpu_s']:.2g} s and "
        f"{found['large']['peak'] / 1e6:.0f} MB. Within ngspice, one sweep over all vectors beats "
        "`alter` and `op` for each vector, and a new netlist for each vector, by "
        f"{sizes} (`benchmarks/circuits/ngspice_methods.py`)."
    )


def _crosssim(rows: list[dict]) -> str:
    """The other peer, which stops at a tolerance."""
    cells = [
        [
            f"{row['n']} × {row['n']}",
            f"{row['tolerance']:.0e}",
            f"{row['crosssim_error']:.0e}",
            f"{1e3 * row['crosssim_s']:.3g} ms",
            f"{1e3 * row['ours_s']:.3g} ms",
            f"{row['ratio']:.3g} ×",
        ]
        for row in rows
    ]
    head = ["array", "tolerance", "differs by", "CrossSim", "here, exact", "ratio"]
    return (
        "CrossSim 3.2, one vector, an iteration that is warm (it keeps the relaxation factor that "
        f"it found), measured {rows[0]['measured']}:\n\n" + table(head, cells)
    )


def physics() -> str:
    """What non-idealities cost."""
    found = load("nonidealities")
    rows = []
    for row in found["rows"]:
        levels = [
            f"{level}: {figures['accuracy']:.1%}"
            for level, figures in zip(row["levels"], row["figures"])
        ]
        rows.append([row["name"], row["unit"], *levels])
    return (
        "What each non-ideality alone does to the pruned perceptron that the example ships, one "
        f"network on one die ({found['ideal']['accuracy']:.1%} with ideal parts), mean over five "
        "seeds of the parts, not of trainings (`benchmarks/studies/nonidealities.py`):\n\n"
        + table(["non-ideality", "unit", "mild", "usual", "harsh"], rows)
    )


def selection() -> str:
    """Speed of the subset-sum solver."""
    found = load("subset_sum_speed")
    by_n = {row["n"]: row["us_per_problem_core"] for row in found["own_bank"]}
    pensia, ratio = found["pensia"], {row["n"]: row["ratio"] for row in found["cp_sat"]}
    rows = [
        [
            "a problem of 16 values (8 + 8 branches)",
            f"{by_n[16]:.1f} µs a core, CP-SAT {ratio[16]:,.0f} × slower",
        ],
        ["a problem of 20 values", f"CP-SAT {ratio[20]:,.0f} × slower"],
        [
            "a million problems of 16 values, two cores",
            f"{found['million']['wall_s']:.1f} s",
        ],
        [
            "397,000 problems of 21 values (Pensia et al., experiment 1)",
            f"{pensia['wall_s']:.1f} s on two cores; published: "
            f"{pensia['published']['seconds']:,} s on {pensia['published']['cores']} cores "
            f"({pensia['published']['solver']}; other hardware, building each model included)",
        ],
    ]
    return (
        "Exact subset sums (`benchmarks/selection/subset_sum_speed.py`; below 16 values CP-SAT is "
        f"{min(ratio.values()):,.0f} × and more slower):\n\n"
        + table(["task", "time"], rows)
        + "\n\n![time against the number of values](benchmarks/results/subset_sum_speed.png)"
    )


def law() -> str:
    """Bits per resistor."""
    found = load("precision_law")
    slopes, floor = found["t1"]["slopes"], {row[0]: row[5] for row in found["meter"]["floor"]}
    return (
        "The law (`benchmarks/selection/precision_law.py`): over 2,500 uniform banks the worst target of the "
        f"worst bank gains {slopes['worst'][0]:.2f} bits per resistor (95 %: "
        f"{slopes['worst'][1]:.2f} … {slopes['worst'][2]:.2f}), the mean error "
        f"{slopes['mean'][0]:.2f}, but the worst target of the median bank "
        f"{slopes['median'][0]:.2f}. A meter of 1 %, 0.1 %, 0.01 % makes {floor[1e-2]}, "
        f"{floor[1e-3]}, {floor[1e-4]} resistors useful.\n\n"
        "![bits against resistors](benchmarks/results/precision_t1.png)"
    )


def bits() -> str:
    """What a resistor is worth: which bank, which statistic, which meter."""
    found = load("bits_per_resistor")
    single = [
        [
            row["bank"],
            *(f"{row['slope'][k]:.2f}" for k in ("mean", "worst of a bank", "worst of all")),
        ]
        for row in found["single"]
    ]
    pair = [
        [
            row["band"],
            row["meter"],
            f"{row['scatter']:.0%}",
            *(f"{row['slope'][k]:.2f}" for k in ("rms", "worst")),
            *(f"{row['rms'][n - 2]:.1f}; {row['worst'][n - 2]:.1f}" for n in (4, 6, 8)),
        ]
        for row in found["pairs"]
    ]
    n = found["single"][0]["n"]
    metered = {
        row["scatter"]: row["rms"]
        for row in found["pairs"]
        if row["meter"] == "0.1 %" and "0.95" in row["band"]
    }
    more = max(b - a for a, b in zip(metered[0.0], metered[0.05]))
    return (
        "What a resistor is worth, in bits of the full scale (`benchmarks/selection/bits_per_resistor.py`). "
        f"One bank of n resistors, known exactly, n = {n[0]} … {n[-1]}, targets in its central half: "
        "bits a resistor of the mean error, of the worst target of the median bank, of the worst "
        "target of all banks:\n\n"
        + table(["bank", "mean", "worst of a bank", "worst of all"], single)
        + "\n\nA pair of ladders, ratio 1.75, as in every example; bits a resistor (a branch a side "
        "is two; up to 6 a side with the meter, which ends it beyond), then bits rms and worst at "
        "4, 6, 8 branches a side:\n\n"
        + table(["targets", "meter", "scatter", "rms", "worst", "4", "6", "8"], pair)
        + "\n\nSo one bit a resistor is the law of the mean error of random banks, and of a pair's "
        "rms error where targets stay in the middle, scatter is 1 % or more and the meter is perfect. "
        "Over the range that weights take, a pair gains 0.5 to 0.6 bit a resistor in the worst case "
        "and 0.7 to 0.85 rms. Equal resistors need a scatter of 20 % for it, and gain hardly anything "
        "below 5 %; a ladder has its precision without any: 5 % adds at most "
        f"{more:.1f} bit rms with a meter of 0.1 %, and nothing in the worst case.\n\n"
        "![bits against resistors](benchmarks/results/bits_per_resistor.png)"
    )


def published() -> str:
    """Published figures beside ours."""
    found = load("published_networks")
    rows = [
        [
            f"Burkholz: subset of at most 15 from {row['values']}: mean error; failures; mean size",
            "{:.2e}; {:.2f} %; {:.2f}".format(*row["published"]),
            "{:.2e}; {:.2f} %; {:.2f}".format(*row["ours"]),
        ]
        for row in found["b1"]
    ]
    own = found["p1"]["a bank per row"]
    rows.append(
        [
            "Pensia et al.: 784-500-10, a bank of 21 values per row: accuracy before → after; "
            "largest error; values kept",
            "97.19 → 97.19 % (all of MNIST); ≤ 0.01; 3,725,871",
            f"{own['before']:.2f} → {own['after']:.2f} % (5,000 images); {own['max_error']:.4f}; "
            f"{own['kept']:,}",
        ]
    )
    rows += [
        [
            f"da Cunha et al.: LeNet-5 convolutions, {row['n']} values a weight, max\\|p − p'\\| / "
            "max\\|p\\| of the worst of four arrays",
            f"{row['mnist']:.2g} (MNIST), {row['fashion']:.2g} (Fashion)",
            f"{row['max']:.2g} ({row['max_5']:.1g} … {row['max_95']:.1g})",
        ]
        for row in found["d1"]
    ]
    exact = {row["n"]: f"{row['exact']:.1%}" for row in found["d1"]}
    return (
        "Published figures (`benchmarks/selection/published_networks.py`):\n\n"
        + table(["figure", "published", "here"], rows)
        + f"\n\nOf da Cunha et al., here: median and 5 … 95 % of {found['d1'][0]['draws']} draws of "
        "the random values. The published figures are one draw each, of networks trained on all of "
        "either data set, and the spread of draws is wide: it is a property of the values, not of a "
        "solver. Many of the values published for 20 and more cannot be subset sums: 47 % of the "
        "published errors are zero in single precision at 20 values and 82 % at 25, where "
        f"{exact[20]} and {exact[25]} of those of the nearest sums are, here. Probably a solver's not "
        "quite whole 0 and 1 were added up as they stood; that is inferred, since the random values "
        "were not published."
    )


def aware() -> str:
    """Selection that is aware of the inputs."""
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
        "together": "aware, scale of the first",
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
    sizes = "-".join(map(str, task["sizes"]))
    points = {key: 100 * (mean[1, key][0] - mean[1, "alone"][0]) for key in methods}
    return (
        f"Selection aware of its inputs, {sizes}, 90 % pruned, MNIST images, three dies "
        f"(`benchmarks/selection/activation_aware.py`; digital accuracy {task['accuracy_without_die']:.1%}):"
        "\n\n"
        + table(
            ["branches a side", "selection", "test accuracy", "points gained", "output error"], rows
        )
        + f"\n\nWith one branch, {points['alone_scaled']:.1f} of the "
        f"{points['together_output']:.1f} points come from a better scale alone; choosing cells "
        f"together gives {points['together_output'] - points['alone_scaled']:.1f} more, or "
        f"{points['together']:.1f} without a better scale. With two and more, accuracies differ by "
        "less than they are known to, and what choosing together lowers is the output error."
    )
