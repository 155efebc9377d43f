"""Files of ours with something changed in them, and every checksum of them renewed."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


def forge(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """Let `change` edit the header and the arrays of a saved network; its checksums fit again."""
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("header").tobytes())
    change(header, arrays)
    if isinstance(header.get("sha256"), dict):
        header["sha256"] = {name: array_digest(array) for name, array in arrays.items()}
    with path.open("wb") as file:
        np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def array_digest(array: np.ndarray) -> str:
    """SHA-256 as a saved network has it."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def renew(pack: Path) -> None:
    """Renew the checksums in the manifest of a pack, of the files that it lists and that exist."""
    path = pack / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        if (pack / name).is_file():
            content = (pack / name).read_bytes()
            manifest["files"][name] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(manifest))


#: What a mutation puts in place of a value.
STRANGE = (
    None, True, -1, 0, 1, 3, 0.5, 1e12, 10**30, 1e300, float("nan"), float("inf"), "", "x",
    "a\n.control\nshell x", "../x", [], [1, 2], {}, {"a": 1}, [[[0]]],
)  # fmt: skip


def mutate(value: Any, rng: np.random.Generator) -> Any:
    """Return JSON with one value in it changed, taken away, or doubled, at a random place."""
    places = list(_places(value))
    holder, key = places[rng.integers(len(places))]
    kind = rng.integers(10)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key] = STRANGE[rng.integers(len(STRANGE))]
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container in JSON with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inside in list(items):
        yield value, key
        if isinstance(inside, dict | list):
            yield from _places(inside)


def flip(path: Path, rng: np.random.Generator) -> None:
    """Flip bits of a random byte of a file, cut it, or empty it."""
    content = bytearray(path.read_bytes())
    kind = rng.integers(10)
    if kind == 0:
        content = content[: rng.integers(len(content))]
    elif kind == 1:
        content = bytearray()
    else:
        content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
    path.write_bytes(content)
