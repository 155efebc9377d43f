"""Which networks of other projects are read and mapped, and how near their dies come to them.

`python -m benchmarks.networks.onnx_files FOLDER` reads every .onnx file under a folder, compares it
with onnxruntime, and maps it onto one die of the default bank with ideal wires and converters.
With --faces FOLDER, the networks of the files pnet.pt, rnet.pt and onet.pt of facenet-pytorch are
mapped too, as torch modules. It writes
`benchmarks/results/onnx_files.json`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image, ImageDraw, ImageFont

import tinynets
from benchmarks.common import machine, print_table, save_json
from benchmarks.networks import mtcnn_nets
from crossbar_sim.config import RunConfig
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.layer_inputs import capture_inputs
from crossbar_sim.on_die.to_torch import to_torch
from mapping.network.map_network import map_network
from tinynets.formats.onnx.network import from_onnx
from tinynets.modules.replacing import copied
from tinynets.networks.layers import PrunedNetwork
from tinynets.networks.passes import Inputs, call

#: Sizes that a file leaves open, by the name that it gives them.
NAMED = {"sequence": 576, "sequence_length": 3, "seq_len": 12, "src_len": 9, "tgt_len": 5}
NAMED |= {"height": 320, "width": 320, "M1": 60, "M2": 60, "N": 2}
#: Sizes without a name, by file and axis; all others are 1.
UNNAMED = {
    "nmp.onnx": {0: 2},
    "ch_PP-OCRv4_det_infer.onnx": {0: 2, 2: 96, 3: 160},
    "ch_PP-OCRv4_rec_infer.onnx": {0: 2, 2: 48, 3: 160},
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": {0: 2, 2: 48, 3: 192},
    "silero_vad.onnx": {1: 576},
}
#: Inputs that choose a branch: sampling rates [Hz].
CHOSEN = {"sr": 16000}
#: Inputs that stay as they are for all samples: CHOSEN, and states whose first axis is no batch.
FIXED = (*CHOSEN, "state", "h", "c")
#: Weights above which a network is only counted: mapping them takes half an hour and more.
MOST = 10_000_000


def inputs(path: Path) -> dict[str, np.ndarray]:
    """Return inputs for a file: written text for pictures, else random.

    Whole numbers are 0 … 3, which any vocabulary has, and bytes 0 … 255.
    """
    rng = np.random.default_rng(0)
    graph = onnx.load(str(path), load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    made: dict[str, np.ndarray] = {}
    for value in graph.input:
        if value.name in constants:
            continue
        kind = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        open_sizes = UNNAMED.get(path.name, {}) if not made else {}
        shape = [
            dim.dim_value if dim.dim_value > 0 else NAMED.get(dim.dim_param, open_sizes.get(k, 1))
            for k, dim in enumerate(kind.shape.dim)
        ]
        if value.name in CHOSEN:
            made[value.name] = np.array(CHOSEN[value.name], dtype)
        elif len(shape) == 4 and shape[1] == 3:
            made[value.name] = written(*shape).astype(dtype)
        elif np.issubdtype(dtype, np.floating):
            made[value.name] = rng.normal(scale=0.5, size=shape).astype(dtype)
        else:
            made[value.name] = rng.integers(0, 256 if value.name == "bytes" else 4, shape).astype(
                dtype
            )
    return made


def written(n: int, n_channel: int, height: int, width: int) -> np.ndarray:
    """Return pictures of dark words on white, (n, n_channel, height, width), in -1 … 1."""
    pictures = []
    for k in range(n):
        picture = Image.new("L", (width, height), 255)
        ImageDraw.Draw(picture).text((4, 4), f"Word {k} 42", 0, ImageFont.load_default(height // 3))
        pictures.append(np.asarray(picture, np.float32) / 127.5 - 1)
    return np.repeat(np.stack(pictures)[:, None], n_channel, axis=1)


def compare(path: Path) -> dict[str, Any]:
    """Return whether a file is read, how far it is from onnxruntime, and its weight layers."""
    row: dict[str, Any] = {"opset": _opset(path), "read": False}
    given = inputs(path)
    fixed = {name: given[name] for name in FIXED if name in given}
    start = time.perf_counter()
    try:
        network = from_onnx(path, fixed=fixed)
    except ValueError as error:
        return row | {"error": str(error).replace(str(path), path.name)}
    row |= {"read": True, "read_s": time.perf_counter() - start}
    tensors = [torch.from_numpy(given[name]) for name in network.shapes]
    with torch.no_grad():
        found = network(*tensors)
    found = found if isinstance(found, tuple) else (found,)
    wanted = onnxruntime.InferenceSession(str(path)).run(None, given)
    row["relative_error"] = max(_gap(ours.numpy(), right) for ours, right in zip(found, wanted))
    if row["relative_error"] > 1e-5:  # what rounding does to this network, in onnxruntime itself
        exact = copied(network).double()(*(tensor.double() for tensor in tensors)).detach().numpy()
        row["rounding_of_onnxruntime"] = _gap(wanted[0], exact)
    return row | _layers(network, tensors)


def _gap(found: np.ndarray, wanted: Any) -> float:
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    wanted = np.asarray(wanted, np.float64)
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))


def _layers(network: torch.nn.Module, tensors: list[torch.Tensor]) -> dict[str, Any]:
    """Return how many weight layers there are, how many weights they hold, and what a die makes."""
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    counts = {"n_layer": len(layers), "n_weight": sum(layer.weight.numel() for layer in layers)}
    left = tuple(
        path
        for path, module in network.named_modules()
        if isinstance(module, torch.nn.ConvTranspose1d | torch.nn.ConvTranspose2d)
    )
    given = tensors[0] if len(tensors) == 1 else tuple(tensors)
    try:
        extracted = tinynets.extract(network, given, leave_digital=left)
        counts |= {"n_extracted": len(extracted.layers), **_shares(extracted)}
        if counts["n_weight"] > MOST:
            raise ValueError(f"its {counts['n_weight'] / 1e6:.0f} million weights were not mapped")
        return counts | on_die(network, extracted, given)
    except ValueError as error:
        return counts | {"stopped": str(error)}


def _shares(extracted: PrunedNetwork) -> dict[str, float]:
    """Return the shares of a network's weights and multiplications that go onto the die."""
    weights, products = zip(*extracted.digital_fractions.values()) if extracted.left else ((), ())
    return {"mapped_weights": 1 - sum(weights), "mapped_products": 1 - sum(products)}


def on_die(network: torch.nn.Module, extracted: PrunedNetwork, given: Inputs) -> dict[str, Any]:
    """Return how near a network on a default die comes to itself, for the inputs that it had.

    The inputs fix the range of the ideal converters, which do not round.
    """
    config = RunConfig(name="networks")
    start = time.perf_counter()
    mapped = map_network(extracted, config.chip, config.tile.size)
    analog = to_torch(network, mapped, Hardware(), calibration=given)
    with torch.no_grad():
        pairs = [_flat(call(each, given)) for each in (network, analog)]
    wanted, found = pairs
    error = torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted)
    return {
        "n_tile": len(mapped.tiles),
        "n_idle": _idle(network, extracted, given),
        "on_die_s": time.perf_counter() - start,
        "on_die_error": float(error),
        "on_die_cosine": float(torch.nn.functional.cosine_similarity(found, wanted, dim=0)),
    }


def _idle(network: torch.nn.Module, extracted: PrunedNetwork, given: Inputs) -> int:
    """Return how many of the layers get nothing but zeros, so that they prove nothing."""
    seen = capture_inputs(network, [layer.module for layer in extracted.layers], given)
    return sum(not any(bool(x.any()) for x in each) for each in seen.values())


def _flat(outputs: Any) -> torch.Tensor:
    """Return all outputs that are fractions as one vector."""
    every = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return torch.cat([x.double().ravel() for x in every if x.is_floating_point()])


def faces(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the same figures for the networks of `mtcnn_nets` with the weights in a folder."""
    rows = {}
    for name, size in mtcnn_nets.SIZES.items():
        network = mtcnn_nets.Face(name)
        network.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
        pictures = torch.from_numpy(written(2, 3, size, size))
        rows[f"facenet-pytorch {name}"] = _layers(network.eval(), [pictures])
    return rows


def _opset(path: Path) -> int:
    model = onnx.load(str(path), load_external_data=False)
    return next(entry.version for entry in model.opset_import if entry.domain == "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder
    rows = {str(path.relative_to(folder)): compare(path) for path in sorted(folder.rglob("*.onnx"))}
    if not rows:
        raise SystemExit(f"{folder} holds no .onnx file")
    modules = faces(arguments.faces) if arguments.faces else {}
    header = (
        "file",
        "opset",
        "read",
        "relative error",
        "weight layers",
        "tiles",
        "error on the die",
    )
    table = [
        (
            name,
            *(r.get(key) for key in ("opset", "read", "relative_error", "n_layer", "n_tile")),
            r.get("on_die_error", r.get("stopped", r.get("error"))),
        )
        for name, r in (rows | modules).items()
    ]
    print_table("ONNX files", header, table)
    save_json("onnx_files", {"machine": machine(), "files": rows, "modules": modules})


if __name__ == "__main__":
    main()
