"""A network on a die: every selection made, saved and loaded without loss."""

import hashlib
import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from mapping.bank import Die, ResistorBank
from mapping.select import Missed
from mapping.tiles import Tile, TileConfig
from tinynets.layers import ConvGeometry, PrunedLayer

FORMAT = "crossbar-sim mapped network"
VERSION = 1


@dataclass(frozen=True)
class MappedLayer:
    """One layer on its tiles.

    layer: the weights wanted. g_per_weight (n_out,): conductance of a unit weight [S] on each
    output. predicted (n_out, n_in): g_pos - g_neg [S] that the selection expected from measured
    values. tiles: in order of their index.
    """

    layer: PrunedLayer
    g_per_weight: np.ndarray
    predicted: np.ndarray
    tiles: tuple[Tile, ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @cached_property
    def weight(self) -> np.ndarray:
        """The weights (n_out, n_in) that the devices realise, without any wire."""
        matrices = [tile.g_pos - tile.g_neg for tile in self.tiles]
        return self.assemble(matrices) / self.g_per_weight[:, None]

    @property
    def error(self) -> np.ndarray:
        """Realised minus wanted weight (n_remaining,), as parts of the layer's largest weight."""
        mask = self.layer.mask
        largest = np.abs(self.layer.weight).max() or 1.0
        return (self.weight - self.layer.weight)[mask] / largest

    def missed(self, tolerance: float) -> Missed:
        """List the targets that the selection misses by more than a part of the largest weight."""
        columns, rows = np.nonzero(self.layer.mask)
        weight, scale = self.layer.weight[columns, rows], self.g_per_weight[columns]
        predicted = self.predicted[columns, rows]
        limit = tolerance * np.abs(weight).max()
        far = np.abs(predicted / scale - weight) > limit
        cells = (a[far] for a in (rows, columns, scale * weight, predicted))
        return Missed(*cells, tolerance=float(limit * scale.max()))

    @property
    def n_closed(self) -> int:
        """Number of closed switches."""
        chosen = [m for tile in self.tiles for m in (tile.chosen_pos, tile.chosen_neg)]
        return int(sum(np.bitwise_count(masks).sum() for masks in chosen))

    def assemble(self, matrices: list[np.ndarray]) -> np.ndarray:
        """Put one (n_word, n_bit) matrix a tile into an (n_out, n_in) matrix of the layer."""
        full = np.zeros(self.layer.weight.shape)
        for tile, matrix in zip(self.tiles, matrices, strict=True):
            full[np.ix_(tile.columns, tile.rows)] += matrix.T
        return full


@dataclass(frozen=True)
class MappedNetwork:
    """Every layer of a network on a die, cut into tiles."""

    layers: tuple[MappedLayer, ...]
    die: Die
    tile: TileConfig

    def layer(self, name: str) -> MappedLayer:
        """Return the layer of that name; KeyError names the ones there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; there are {[layer.name for layer in self.layers]}")

    @property
    def tiles(self) -> list[Tile]:
        """All tiles, layer after layer."""
        return [tile for layer in self.layers for tile in layer.tiles]

    def save(self, path: str | Path) -> None:
        """Write a lossless .npz file: arrays, and a header with version and checksums."""
        arrays = _arrays(self)
        header = {
            "format": FORMAT,
            "version": VERSION,
            "bank": asdict(self.die.bank),
            "seed": int(self.die.seed),
            "tile": asdict(self.tile),
            "layers": [_describe_layer(layer) for layer in self.layers],
            "sha256": {name: _digest(array) for name, array in arrays.items()},
        }
        text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        named: dict[str, Any] = {"header": text, **arrays}
        np.savez_compressed(buffer, **named)
        temporary = Path(f"{path}.{os.getpid()}.tmp")
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(path)

    @staticmethod
    def load(path: str | Path) -> "MappedNetwork":
        """Read a file written by `save`.

        Raises ValueError naming the file when it is something else, of a newer version, or when
        a checksum does not match. Nothing in the file is executed.
        """
        header, arrays = _read(Path(path))
        layers = tuple(_load_layer(k, entry, arrays) for k, entry in enumerate(header["layers"]))
        table, stuck = (
            {name.removeprefix(kind): a for name, a in arrays.items() if name.startswith(kind)}
            for kind in ("die/", "stuck/")
        )
        die = Die(ResistorBank(**header["bank"]), header["seed"], table or None, stuck or None)
        return MappedNetwork(layers, die, TileConfig(**header["tile"]))


_LAYER_ARRAYS = ("weight", "mask", "bias")
_TILE_ARRAYS = ("rows", "columns", "present", "chosen_pos", "chosen_neg", "g_pos", "g_neg")


def _arrays(mapped: MappedNetwork) -> dict[str, np.ndarray]:
    """Return every array of the network under a name that tells where it belongs."""
    arrays = {f"die/{name}": ohms for name, ohms in (mapped.die.table or {}).items()}
    arrays |= {f"stuck/{name}": states for name, states in (mapped.die.stuck or {}).items()}
    for k, layer in enumerate(mapped.layers):
        for name in _LAYER_ARRAYS:
            if getattr(layer.layer, name) is not None:
                arrays[f"{k}/{name}"] = getattr(layer.layer, name)
        arrays |= {f"{k}/g_per_weight": layer.g_per_weight, f"{k}/predicted": layer.predicted}
        for t, tile in enumerate(layer.tiles):
            arrays |= {f"{k}/{t}/{name}": getattr(tile, name) for name in _TILE_ARRAYS}
    return arrays


def _describe_layer(layer: MappedLayer) -> dict[str, Any]:
    source = layer.layer
    return {
        "name": source.name,
        "module": source.module,
        "n_mvm": source.n_mvm,
        "conv": asdict(source.conv) if source.conv else None,
        "tiles": [list(tile.index) for tile in layer.tiles],
    }


def _load_layer(k: int, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> MappedLayer:
    conv = None
    if entry["conv"]:
        pairs = {n: tuple(v) if isinstance(v, list) else v for n, v in entry["conv"].items()}
        conv = ConvGeometry(**cast(dict[str, Any], pairs))
    layer = PrunedLayer(
        **{name: arrays.get(f"{k}/{name}") for name in _LAYER_ARRAYS},
        **{name: entry[name] for name in ("name", "module", "n_mvm")},
        conv=conv,
    )
    tiles = tuple(
        Tile(
            entry["name"],
            (index[0], index[1]),
            **{name: arrays[f"{k}/{t}/{name}"] for name in _TILE_ARRAYS},
        )
        for t, index in enumerate(entry["tiles"])
    )
    return MappedLayer(layer, arrays[f"{k}/g_per_weight"], arrays[f"{k}/predicted"], tiles)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of a file, having checked format, version and checksums."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a mapped network, or is damaged: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} is not a mapped network")
    if header["version"] != VERSION:
        raise ValueError(
            f"{path} has version {header['version']}; this program reads {VERSION}; "
            "use the program that wrote it or a newer one"
        )
    sums = {name: _digest(array) for name, array in arrays.items()}
    if sums != header["sha256"]:
        names = sorted(set(sums.items()) ^ set(header["sha256"].items()))
        raise ValueError(f"{path} is damaged: the checksum of {names[0][0]!r} does not match")
    return header, arrays


def _digest(array: np.ndarray) -> str:
    """SHA-256 of an array's kind, shape and bytes."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()
