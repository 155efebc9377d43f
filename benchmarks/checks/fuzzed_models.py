"""Changed files of networks, weights and data: refused, or what another reader finds in them."""

import io
import json
import os
import pickle
import pickletools
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import safetensors.numpy
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.checks.forging import mutate
from benchmarks.checks.fuzzed_configurations import CANARY
from benchmarks.checks.guarded import COMMAND_EVERY, Outcome
from benchmarks.checks.judged import IN_USE, OTHER, UNCHANGED, Case, judged, same
from benchmarks.checks.mutants_of_files import damaged, mutated_array, npz_claiming
from crossbar_sim.config import load_config
from crossbar_sim.system.failures import is_said
from tinynets.data.own import from_npz, from_safetensors
from tinynets.formats.readers import read_network
from tinynets.formats.weights import read_weights

RUN = 'name = "own"\n[network]\nsource = "net.py:make"\n'
#: Sizes that a file claims of an array.
CLAIMS = ("(1000000000000,)", "(1000000, 1000000)", "(-1,)", "(0, 4)", "(4, 0)", "(2**60, 2**60)")
#: What somebody who wants to run code would have a pickle call.
CALLS = ((os.system, "touch canary"), (eval, "open('canary', 'w')"), (exec, CANARY))
CALLS += ((os.mkdir, "canary"), (os.remove, "net.safetensors"), (open, "canary", "w"))


class Calls:
    """Whatever unpickles this calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def weights() -> dict[str, torch.Tensor]:
    """Return the weights of three layers."""
    made = torch.Generator().manual_seed(0)
    sizes = {"fc1": (5, 6), "fc2": (4, 5), "fc3": (3, 4)}
    state = {f"{k}.weight": torch.randn(s, generator=made) for k, s in sizes.items()}
    return state | {f"{k}.bias": torch.randn(s[0], generator=made) for k, s in sizes.items()}


def legacy(state: dict[str, torch.Tensor]) -> bytes:
    """Return a file of torch's old format, with the same bytes in every process.

    It names and orders storages by their addresses, so there is one, under a name of its own.
    """
    parts = torch.cat([tensor.flatten() for tensor in state.values()]).split(
        [tensor.numel() for tensor in state.values()]
    )
    views = {k: part.view(t.shape) for (k, t), part in zip(state.items(), parts)}
    file = io.BytesIO()
    torch.save(views, file, _use_new_zipfile_serialization=False)
    name = b"1000000"
    text = b"X" + struct.pack("<I", len(name)) + name
    return re.sub(rb"X....\d{7,}", text, file.getvalue(), flags=re.DOTALL)


def graph() -> bytes:
    """Return an ONNX file of a convolution, a pooling and a dense layer."""
    rng = np.random.default_rng(0)
    arrays = {"k": (2, 1, 3, 3), "kb": (2,), "w": (3, 18), "b": (3,), "shape": None}
    made = {n: rng.normal(size=s).astype("f4") for n, s in arrays.items() if s}
    made["shape"] = np.array([0, -1], "i8")
    nodes = [
        helper.make_node("Conv", ["x", "k", "kb"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", *s])
        for n, s in (("x", (1, 6, 6)), ("y", (3,)))
    ]
    constants = [numpy_helper.from_array(a, n) for n, a in made.items()]
    whole = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(whole, opset_imports=opset, ir_version=8).SerializeToString()


class Models:
    """Files of networks and data, each time with something changed in one."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.seed = root, seed
        (root / "tmp").mkdir()
        (root / "own.toml").write_text(RUN)
        (root / "bank.toml").write_text('name = "bank"\n[bank]\nn = 4\n')
        state, rng = weights(), np.random.default_rng(0)
        arrays = {
            "x": rng.normal(size=(40, 6)).astype("f4"),
            "y": np.arange(40) % 4,
        }
        self.arrays = {k: v.numpy() for k, v in state.items()}
        new, nested = io.BytesIO(), io.BytesIO()
        torch.save(state, new)
        torch.save({"epoch": 3, "model": state, "losses": [1.0, 2.0]}, nested)
        data = io.BytesIO()
        np.savez(data, **arrays)
        self.data = arrays
        self.originals = {
            "net.safetensors": safetensors.numpy.save(self.arrays),
            "net.pt": new.getvalue(),
            "old.pt": legacy(state),
            "checkpoint.pth": nested.getvalue(),
            "net.onnx": graph(),
            "data.npz": data.getvalue(),
            "data.safetensors": safetensors.numpy.save(arrays),
            "net.py": CANARY.encode(),
        }
        self.names = [*self.originals, "net.onnx", "net.pt", "net.safetensors"]

    def __call__(self, number: int) -> Outcome:
        """Return what became of a file."""
        rng = np.random.default_rng([self.seed, 3, number])
        name = self.names[rng.integers(len(self.names))]
        path = self.root / name
        change = _CHANGES[path.suffix]
        content = self.originals[name]
        if rng.integers(3):
            content, what = change(self, content, rng)
        else:
            content, what = damaged(content, rng)
        path.write_bytes(content)
        read, meaning = self._readers(name)
        try:
            return judged(
                Case(
                    number, f"{name}: {what}", lambda: read(path), meaning, self.root, (path.name,)
                )
            )
        finally:
            if number % COMMAND_EVERY:
                path.unlink(missing_ok=True)

    def command(self, number: int) -> tuple[tuple[str, ...], Path]:
        """Return a command that reads the same file, and the folder that it runs in."""
        rng = np.random.default_rng([self.seed, 3, number])
        name = self.names[rng.integers(len(self.names))]
        return ("map", name, "--output", "new", "--config", "bank.toml"), self.root

    def done(self, number: int) -> None:
        """Forget a command, and the file."""
        shutil.rmtree(self.root / "new", ignore_errors=True)
        (self.root / self.command(number)[0][1]).unlink(missing_ok=True)

    def _readers(self, name: str) -> tuple[Callable[[Path], Any], Callable[[Any], str]]:
        path = self.root / name
        if name.startswith("data"):
            read = from_npz if path.suffix == ".npz" else from_safetensors
            return read, lambda found: self._data(found, path)
        if path.suffix == ".py":
            return self._untrusted, lambda found: "Python without trust"
        if path.suffix == ".onnx":
            return read_network, lambda found: _like_reference(found, path)
        return read_network, lambda found: self._network(found, path)

    def _untrusted(self, path: Path) -> Any:
        return load_config(self.root / "own.toml").ready(), path

    def _network(self, found: torch.nn.Module, path: Path) -> str:
        state = {k: v.numpy() for k, v in found.state_dict().items()}
        if not all(np.isfinite(v).all() and v.size for v in state.values()):
            return "NaN, inf or nothing as weights"
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                if file.testzip():
                    return "a checksum in the file does not match"
        example = torch.zeros(2, next(p.shape[1] for p in found.parameters() if p.ndim == 2))
        if not torch.isfinite(found(example)).all():
            return "NaN of zeros"
        if same(state, self.arrays):
            return UNCHANGED
        read = _safetensors if path.suffix == ".safetensors" else _plain
        other = read(path)
        alike = other.keys() == state.keys() and all(
            np.array_equal(other[k].astype("f4"), state[k]) for k in state
        )
        return OTHER if alike else "other weights than in the file"

    def _data(self, found: Any, path: Path) -> str:
        whole = [v for v in (found.x_train, found.x_test) if not v.dtype.names]
        if not all(np.isfinite(v).all() and len(v) for v in whole):
            return "NaN, inf or nothing as samples"
        if path.suffix == ".npz":
            with np.load(path) as file:
                arrays = dict(file)
        else:
            arrays = _safetensors(path)
        x = arrays.get("x")
        if x is None or len(whole) < 2:
            return OTHER
        kept = np.sort(np.concatenate([v.ravel() for v in whole]))
        given = np.sort(np.asarray(x, np.float32).ravel())
        if not np.array_equal(kept, given):
            return "other samples than in the file"
        return UNCHANGED if same(arrays, self.data) else OTHER


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file by its specification."""
    content = path.read_bytes()
    n = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n])
    kinds = {
        "F32": "f4",
        "F64": "f8",
        "F16": "f2",
        "I64": "i8",
        "I32": "i4",
        "U8": "u1",
        "BOOL": "?",
    }
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            part = content[8 + n + start : 8 + n + end]
            found[name] = np.frombuffer(part, kinds[entry["dtype"]]).reshape(entry["shape"])
    return found


def _plain(path: Path) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in read_weights(path).items()}


def _like_reference(found: Any, path: Path) -> str:
    """Compare a module with ONNX's own slow evaluator, where that takes the file."""
    model = onnx.load_model_from_string(path.read_bytes())
    if model.SerializeToString() == graph():
        return UNCHANGED
    inputs = []
    for shape in found.shapes.values():
        size = [2 if k == 0 or n is None else n for k, n in enumerate(shape or (2, 1, 6, 6))]
        if len(size) > 8 or np.prod(np.array(size, float)) > 1e6:
            return OTHER
        inputs.append(np.random.default_rng(1).normal(size=size).astype("f4"))
    try:
        session = onnx.reference.ReferenceEvaluator(model)
        wanted: Any = session.run(None, dict(zip(found.shapes, inputs)))
    except BaseException:
        return OTHER  # it is not the evaluator that is tried here
    try:
        got: Any = found(*map(torch.from_numpy, inputs))
    except ValueError as error:
        if is_said(error):
            return IN_USE
        raise
    got = [got] if torch.is_tensor(got) else list(got)
    for a, b in zip(wanted, got, strict=True):
        b = b.detach().numpy()
        scale = np.max(np.abs(a), initial=0, where=np.isfinite(a)) + 1e-30
        if a.shape != b.shape:
            return f"shape {b.shape}; the reference has {a.shape}"
        if not np.allclose(a / scale, b / scale, rtol=1e-4, atol=1e-4, equal_nan=True):
            return f"off the reference by {np.nanmax(np.abs(a - b)) / scale:.1e} of the largest"
    return OTHER


def _changed_header(models: Models, content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Change the JSON of a safetensors file, or a tensor."""
    n = int.from_bytes(content[:8], "little")
    if rng.integers(2):
        arrays = safetensors.numpy.load(content)
        name = sorted(arrays)[rng.integers(len(arrays))]
        array = np.ascontiguousarray(mutated_array(arrays[name], rng))
        if array.dtype.str[1:] in ("f8", "f4", "f2", "i8", "i4", "u1", "b1") and array.size:
            return safetensors.numpy.save({**arrays, name: array}), "tensor"
    header = json.dumps(mutate(json.loads(content[8 : 8 + n]), rng)).encode()
    size = (len(header), len(header) + 1, 2**62, 0)[min(3, rng.geometric(0.8) - 1)]
    return size.to_bytes(8, "little") + header + content[8 + n :], "header"


def _changed_pt(models: Models, content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Put another pickle in a torch file, change it, or give another tensor."""
    kind = rng.integers(5)
    call = CALLS[rng.integers(len(CALLS))]
    state = {k: torch.from_numpy(v) for k, v in models.arrays.items()}
    made = io.BytesIO()
    if kind == 0:
        torch.save({**state, "x": Calls(*call)}, made)
        return made.getvalue(), "pickle that calls"
    if kind == 1:
        return pickle.dumps(Calls(*call), int(rng.integers(6))), "bare pickle that calls"
    if kind == 2:
        name = list(state)[rng.integers(len(state))]
        array = np.ascontiguousarray(mutated_array(models.arrays[name], rng))
        if array.dtype.kind in "fiu?c" and array.dtype.isnative:
            torch.save({**state, name: torch.from_numpy(array)}, made)
            return made.getvalue(), "tensor"
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return _mixed_pickle(content, call, rng), "spliced pickle"
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        changed = names[rng.integers(len(names))]
        for name in names:
            entry = old.read(name)
            if name.endswith("data.pkl") and kind == 3:
                entry = _mixed_pickle(entry, call, rng)
            elif name == changed and kind == 4:
                entry = damaged(entry, rng)[0]
            new.writestr(name, entry)
    return made.getvalue(), "spliced pickle" if kind == 3 else "entry"


def _mixed_pickle(content: bytes, call: Any, rng: np.random.Generator) -> bytes:
    """Put a call into a pickle, between two of its operations."""
    try:
        places = [place for _, _, place in pickletools.genops(content) if place]
    except ValueError:
        places = []
    at = places[rng.integers(len(places))] if places else 0
    inside = pickle.dumps(Calls(*call), 2)[2:-1]
    return content[:at] + inside + content[at:]


def _changed_onnx(models: Models, content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Change a node, a constant or an end of a graph."""
    model = onnx.load_model_from_string(content)
    inside, kind = model.graph, rng.integers(10)
    node = inside.node[rng.integers(len(inside.node))]
    tensor = inside.initializer[rng.integers(len(inside.initializer))]
    names = ["", "x", "y", "c", "r", "p", "f", "w", "k", "training", "forward", "a.b", "x" * 500]
    if kind == 0:
        node.op_type = ("Gemm", "Conv", "If", "Loop", "Xx", "", "MatMul", "Add")[rng.integers(8)]
    elif kind == 1:
        node.input[rng.integers(len(node.input))] = names[rng.integers(len(names))]
    elif kind == 2:
        node.output[0] = names[rng.integers(len(names))]
    elif kind == 3 and node.attribute:
        numbers = node.attribute[rng.integers(len(node.attribute))]
        value = (0, -1, 2, 3, 7, 2**31, 2**62)[rng.integers(7)]
        if numbers.ints:
            numbers.ints[rng.integers(len(numbers.ints))] = value
        else:
            numbers.i = value
    elif kind == 4:
        new = mutated_array(numpy_helper.to_array(tensor), rng)
        if new.dtype.kind in "fiu?" and new.dtype.isnative:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new), tensor.name))
    elif kind == 5 and tensor.dims:
        tensor.dims[rng.integers(len(tensor.dims))] = (0, -1, 1, 2**40, 5)[rng.integers(5)]
    elif kind == 6:
        tensor.data_location = TensorProto.EXTERNAL
        place = ("../x", "/dev/zero", "net.onnx", "/etc/passwd", "")[rng.integers(5)]
        tensor.external_data.add(key="location", value=place)
    elif kind == 7:
        tensor.name = names[rng.integers(len(names))]
    elif kind == 8:
        shape = inside.input[0].type.tensor_type.shape
        shape.dim[rng.integers(len(shape.dim))].dim_value = (0, -1, 2, 7, 2**50)[rng.integers(5)]
    else:
        model.opset_import[0].version = int((0, -1, 1, 7, 13, 99, 2**40)[rng.integers(7)])
    return model.SerializeToString(), "graph"


def _changed_npz(models: Models, content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Change an array of data, have it claim a shape, or hide a pickle in it."""
    arrays, kind = dict(models.data), rng.integers(6)
    name = list(arrays)[rng.integers(len(arrays))]
    if kind == 0:
        return npz_claiming(arrays, name, CLAIMS[rng.integers(len(CLAIMS))]), "claim"
    made = io.BytesIO()
    if kind == 1:
        call = CALLS[rng.integers(len(CALLS))]
        arrays[name] = np.array([Calls(*call)] * 40, dtype=object)
        np.savez(made, **arrays)
        return made.getvalue(), "pickle that calls"
    if kind == 2:
        new = ("x_train", "y_train", "x_test", "header", "../x", "é", "")[rng.integers(7)]
        arrays[new] = arrays.pop(name)
    else:
        arrays[name] = mutated_array(arrays[name], rng)
    with zipfile.ZipFile(made, "w") as file:
        for key, array in arrays.items():
            entry = io.BytesIO()
            np.save(entry, array)
            file.writestr(f"{key}.npy", entry.getvalue())
    return made.getvalue(), "array"


def _changed_python(_models: Models, content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Put hostile lines around Python that leaves a file if it runs."""
    lines = (
        b"import canary2, os.path", b"from .... import x", b"from . import *", b"\0",
        b"(" * 3000, b"-" * 100_000 + b"1", b"import " + b"a." * 5000 + b"a", b"# coding: utf-7",
        b"from __future__ import braces", b"import net", b"\xff\xfe", b"# coding: rot13",
    )  # fmt: skip
    line = lines[rng.integers(len(lines))]
    return (
        (line + b"\n" + content, "line before")
        if rng.integers(2)
        else (
            content + line + b"\n",
            "line after",
        )
    )


_CHANGES = {
    ".safetensors": _changed_header,
    ".pt": _changed_pt,
    ".pth": _changed_pt,
    ".onnx": _changed_onnx,
    ".npz": _changed_npz,
    ".py": _changed_python,
}
