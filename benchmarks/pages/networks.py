"""The results of networks of others: a sentence encoder, ONNX files, torch modules."""

from pathlib import PurePosixPath
from typing import Any

from benchmarks.pages.tables import load, table


def minilm() -> str:
    """Return the figures of the sentence encoder: fidelity, its weakest layers, time and memory."""
    found = load("minilm")
    number = found["n_sentence"]
    costs = [
        [
            f"`{name}`",
            f"{cost['seconds']:.0f} s",
            f"{cost['cpu_seconds']:.0f} s" if "cpu_seconds" in cost else "not read",
            f"{cost['peak_bytes'] / 1e9:.1f} GB" if "peak_bytes" in cost else "not read",
        ]
        for name, cost in found["costs"].items()
    ]
    study = found["study"]
    at_start = found["machine"]["load_at_start"]
    busy = "" if at_start is None else f", load {at_start:.1f} at the start"
    machine, whole = found["machine"], sum(cost["seconds"] for cost in found["costs"].values())
    return "\n\n".join(
        [
            f"A sentence encoder, all-MiniLM-L6-v2 (`benchmarks/networks/minilm.py`): "
            f"{found['n_weight'] / 1e6:.1f} million weights in {found['n_layer']} layers, on "
            f"{found['n_tile']:,} tiles with {found['n_resistor'] / 1e6:.0f} million resistors of the default "
            f"bank. {number['test']} sentences of at most {number['tokens']} tokens; {number['calibration']} "
            f"others fix the ranges of the converters. The digital network is within "
            f"{found['gap_to_transformers']:.0e} of the one of the package transformers. Cosines are those of "
            "a sentence's vector on the die and its digital one; the error of a layer is that of its own "
            "outputs, for the inputs that it gets on the die.",
            *_fidelity(found["fidelity"]),
            f"Over {found['n_die']} dies with drawn wires and 8-bit converters, the cosine of all vectors taken "
            f"together is {float(study['score']):.3f} ({float(study['score_low']):.3f} … "
            f"{float(study['score_high']):.3f}), their error {float(study['output_error']):.0%}.",
            f"Time and memory of each step on {machine['cores']} cores ({machine['processor']}{busy}; "
            f"{whole / 60:.0f} minutes in all). Memory is that of all "
            "processes of a step together." + (f" {found['note']}" if "note" in found else ""),
            table(["step", "time", "processor time", "memory"], costs),
        ]
    )


def _fidelity(kinds: dict[str, dict[str, Any]]) -> list[str]:
    """Return how near one die comes to the digital network, and its weakest layers."""
    if not kinds:
        return ["The error of each layer is not yet measured."]
    rows = []
    for kind, part in kinds.items():
        worst = max(part["layers"], key=lambda layer: layer["relative_error"])
        rows.append(
            [
                kind,
                f"{part['cosine']['mean']:.3f}",
                f"{part['cosine']['worst']:.3f}",
                f"{part['relative_error']:.0%}",
                f"{worst['relative_error']:.0%} ({worst['name']})",
            ]
        )
    head = ["wires and converters", "mean cosine", "worst cosine", "error", "worst layer"]
    return [table(head, rows), _weakest(next(iter(kinds.values()))["layers"])]


def _weakest(layers: list[dict[str, Any]]) -> str:
    ordered = sorted(layers, key=lambda layer: -layer["relative_error"])
    weak = ", ".join(f"{layer['name']} {layer['relative_error']:.0%}" for layer in ordered[:4])
    middle = ordered[len(ordered) // 2]["relative_error"]
    return f"Weak first, with drawn wires and 8-bit converters: {weak}; the median layer has {middle:.0%}."


def resnet18() -> str:
    """Return accuracy, time, memory and disk of ResNet-18 on dies."""
    found = load("resnet18")
    first = next(iter(found.values()))
    accuracy = [
        [
            f"{kind}, digital {one['digital']:.2%}",
            row["variant"],
            f"{float(row['accuracy']):.2%} ({float(row['accuracy_low']):.2%} … {float(row['accuracy_high']):.2%})",
            f"{float(row['output_error']):.1%}",
        ]
        for kind, one in found.items()
        for row in one["study"]
    ]
    sizes = "; ".join(
        f"{kind}: {one['n_weight'] / 1e6:.1f} million weights on {one['n_tile']:,} tiles, {one['n_resistor'] / 1e6:.0f} "
        "million resistors"
        for kind, one in found.items()
    )
    costs = [
        [
            kind,
            f"`{name}`",
            f"{c['seconds']:.0f} s",
            f"{c['peak_bytes'] / 1e9:.1f} GB",
            _megabytes(c),
        ]
        for kind, one in found.items()
        for name, c in (one["costs"] | one.get("exports", {"costs": {}})["costs"]).items()
    ]
    largest = max(float(row["current_error"]) for one in found.values() for row in one["verify"])
    machine = first["machine"]
    return "\n\n".join(
        [
            "ResNet-18 with exact wires (`benchmarks/networks/resnet18.py`): trained once on all of MNIST, dense and "
            f"pruned by magnitude, 64 × 64 tiles. {sizes}. Accuracy on the first {first['n_test']:,} test images, mean and "
            f"95 % interval over {first['n_die']} dies, not over trainings; the images leave ± 0.3 % at 99 % (binomial). "
            "The digital accuracy is of the same images. Drawn wires (5.2 ohm a cell along word lines, 1.8 along bit lines) "
            "cost the dense network most of its accuracy: what a line loses grows with the current in it, every layer "
            "adds to it, and nothing here calibrates or trains against it. Pruned tiles carry less. The bits of the "
            "converters hardly matter beside that.",
            table(["network", "wires and converters", "accuracy", "error of outputs"], accuracy),
            f"Steps by command ({machine['cores']} cores of {machine['processor']}, which other work shared: load "
            f"{machine['load_at_start']:.1f} at the start). ngspice differs from the engine on no checked tile by more "
            f"than {largest:.0e}. A pack of the dense network, about 40 GB, was not written:",
            table(["network", "command", "time", "memory", "disk"], costs),
        ]
    )


def saved() -> str:
    """Return what saved networks take, and what their transfer matrices spare a reader."""
    kept = load("saved")
    steps = {"to_torch": "`to_torch`", "save": "saved", "load": "read"}
    steps |= {"save without": "saved without them", "load without": "read without them"}
    kinds = [kind for kind in kept if kind != "machine"]
    rows = [
        [what, *(f"{kept[kind]['seconds'][step][1]:.1f} s" for kind in kinds)]
        for step, what in steps.items()
    ]
    for file in ("mapped.npz", "transfers.npz"):
        rows.append(
            [f"`{file}`", *(f"{kept[kind]['bytes'][f'a/{file}'] / 1e6:.0f} MB" for kind in kinds)]
        )
    return (
        "Networks on the die that are saved with their transfer matrices, and without "
        "(`benchmarks/networks/saved.py`; ResNet-18 with random weights, 64 × 64 tiles with wires, three branches a bank; "
        f"processor time, load {kept['machine']['load_at_start']:.1f} on {kept['machine']['cores']} cores). Every matrix "
        "that is read is compared with a solution of its circuit. Of sparse tiles the matrices are found about as "
        "fast as they are read; most of a reader's time is the mapping itself:\n\n"
        + table(["ResNet-18", *kinds], rows)
    )


def _megabytes(cost: dict[str, Any]) -> str:
    return f"{cost['bytes'] / 1e6:,.0f} MB" if "bytes" in cost else ""


def forward() -> str:
    """Return time and memory of a pass on the die, over those of the digital one."""
    kept = load("forward")
    kinds = ("DAC and ADC", "with noise", "ideal converters")
    rows = [
        [
            row["network"],
            f"{row['side']} × {row['side']}",
            f"{row['n_tile']:,}",
            f"{row['digital_s'] * 1e3:.0f} ms",
            *(f"{row[kind]['ratio']:.1f} ×" for kind in kinds),
            *(f"{row[kind]['memory']:.1f} ×" for kind in ("DAC and ADC", "ideal converters")),
        ]
        for row in kept["rows"]
    ]
    head = [
        "network",
        "tiles of",
        "tiles",
        "digital pass",
        *kinds,
        "memory",
        "memory, ideal converters",
    ]
    return (
        "A forward pass on the die over the digital one (`benchmarks/networks/forward.py`; random weights, drawn wires, "
        "amplifiers with offsets and 1 V of swing; 8-bit converters for each tile, the same with the noise of every "
        "read, or ideal converters and amplifiers that never clip; processor time of one core, all passes in turn; "
        f"load {kept['machine']['load_at_start']:.1f} on {kept['machine']['cores']} cores). Each pair of bit lines takes one "
        "product, and a second where its lines may reach the swing, which no bound excludes for most signed inputs. "
        "The positive lines are held for that, which doubles the memory; a depthwise convolution, whose tiles "
        "hold several channels, takes more. Noise takes a normal number for each conversion:\n\n"
        + table(head, rows)
    )


def lightning() -> str:
    """Return one layer at a time beside aihwkit-lightning."""
    kept = load("lightning")
    rows = [
        [
            row["layer"],
            f"{row['digital_s'] * 1e3:.0f} ms",
            *(f"{row[which]['ratio']:.1f} ×" for which in ("ours", "lightning")),
            *(f"{row[which]['memory']:.1f} ×" for which in ("ours", "lightning")),
            *(f"{row[which]['error']:.1%}" for which in ("ours", "lightning")),
            f"{row['made_s']:.1f} s",
        ]
        for row in kept["rows"]
    ]
    head = [
        "layer",
        "digital pass",
        "time, here",
        "aihwkit-lightning",
        "memory, here",
        "aihwkit-lightning",
    ]
    head += ["error, here", "aihwkit-lightning", "made, here"]
    return (
        f"A layer beside aihwkit-lightning {kept['version']}, both over the digital layer in the same run "
        "(`benchmarks/networks/lightning.py`; random weights, 8-bit DACs, an 8-bit ADC for each tile of 128 inputs, processor "
        f"time of one core, load {kept['machine']['load_at_start']:.1f} on {kept['machine']['cores']} cores). Here the arrays have "
        "drawn wires and switches chosen on a die, which is most of the error; aihwkit-lightning multiplies by the weights "
        "themselves, needs nothing made beforehand and holds no more than the digital layer. It is made for training on GPUs, "
        "which this run does not show:\n\n" + table(head, rows)
    )


def others() -> str:
    """Return how much of each network of others goes onto a die, and how near it comes."""
    found = load("onnx_files")
    rows = [_row(name, row) for name, row in (found["files"] | found.get("modules", {})).items()]
    n_mapped = sum(
        "on_die_error" in row for row in (found["files"] | found.get("modules", {})).values()
    )
    return (
        "Networks of others, as their packages ship them (`benchmarks/networks/onnx_files.py`). All ONNX files "
        "give what onnxruntime gives, to rounding (largest difference "
        f"{max(row['relative_error'] for row in found['files'].values()):.0e}). {n_mapped} of "
        f"{len(rows)} go onto one die of the default bank, with ideal wires and converters. Of a network on its "
        "die, the table gives the shares of weights and multiplications that are on it, its tiles, and the "
        "relative error and cosine of all its outputs; of the others, what stops them.\n\n"
        + table(
            ["network", "layers", "weights", "multiplications", "tiles", "error", "cosine"], rows
        )
    )


def _row(name: str, row: dict[str, Any]) -> list[str]:
    path = PurePosixPath(name)
    short = f"{path.parts[0]}: {path.name}" if len(path.parts) > 1 else name
    first = [short, str(row["n_layer"])]
    shares = [f"{row[k]:.0%}" if k in row else "" for k in ("mapped_weights", "mapped_products")]
    if "on_die_error" not in row:
        reason = row.get("stopped", "not yet measured")
        return [*first, *shares, "", reason.replace("|", "\\|"), ""]
    error = f"{row['on_die_error']:.2%}"
    if row["n_idle"]:
        error += f", {row['n_idle']} layers get only zeros"
    return [*first, *shares, f"{row['n_tile']:,}", error, f"{row['on_die_cosine']:.6f}"]
