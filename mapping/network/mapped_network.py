"""A network on a die: every selection made, saved and loaded without loss."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from mapping.bank import Die, ResistorBank
from mapping.network.consistency import check_parts
from mapping.network.header import FORMAT, Header, LayerHeader, built, plain
from mapping.network.mapped_layer import MappedLayer
from mapping.tiling.tiles import Tile, TileConfig
from tinynets.files.checks import is_word
from tinynets.files.drafts import new_file
from tinynets.files.npz import read_npz, write_npz
from tinynets.networks.layers import ConvGeometry, GroupedMatrix, PrunedLayer


@dataclass(frozen=True)
class MappedNetwork:
    """Every layer of a network on a die, cut into tiles."""

    layers: tuple[MappedLayer, ...]
    die: Die
    tile: TileConfig

    @property
    def tiles(self) -> list[Tile]:
        """All tiles, layer after layer."""
        return [tile for layer in self.layers for tile in layer.tiles]

    def part(self, tiles: Iterable[Tile]) -> "MappedNetwork":
        """Return only these tiles, in the network's order, and the layers that have one.

        Weights stay whole, so a part can be written as text but neither saved nor computed with.
        """
        names = {tile.name for tile in tiles}
        layers = (
            replace(layer, tiles=tuple(tile for tile in layer.tiles if tile.name in names))
            for layer in self.layers
        )
        return replace(self, layers=tuple(layer for layer in layers if layer.tiles))

    def save(self, path: str | Path) -> None:
        """Write a lossless .npz file: arrays, and a header with version and checksums.

        Raises ValueError for a network that `load` would refuse.
        """
        check_parts(self.layers, self.die, self.tile)
        arrays = _arrays(self)
        header = Header(
            format=FORMAT,
            version=3 if any(layer.source.groups > 1 for layer in self.layers) else 2,
            bank=plain(self.die.bank),
            seed=int(self.die.seed),
            tile=plain(self.tile),
            layers=[_describe_layer(layer) for layer in self.layers],
            sha256={name: _digest(array) for name, array in arrays.items()},
        )
        # Not by pydantic, which writes an infinite r_off as null.
        text = json.dumps(header.model_dump(exclude_defaults=True)).encode()
        with new_file(path) as draft, draft.open("wb") as file:
            write_npz(file, {"header": np.frombuffer(text, dtype=np.uint8), **arrays})

    @staticmethod
    def load(path: str | Path) -> "MappedNetwork":
        """Read a file written by `save`.

        Raises ValueError naming the file when it is something else, damaged, of a newer version,
        or when its parts do not agree (`mapping.network.consistency`); OSError when it cannot be
        opened. Nothing in the file is executed.
        """
        try:
            mapped = _network(*_read(Path(path)))
            check_parts(mapped.layers, mapped.die, mapped.tile)
        except ValueError as error:
            named = str(error).startswith(str(path))
            raise ValueError(f"{error}" if named else f"{path}: {error}") from error
        return mapped


_LAYER_ARRAYS = ("weight", "mask", "bias")
_SCALE_ARRAYS = ("g_per_weight", "predicted")
_TILE_ARRAYS = ("rows", "columns", "present", "chosen_pos", "chosen_neg", "g_pos", "g_neg")
#: The folder of the arrays of a layer's tiles, each flat and joined, tile after tile.
_JOINED = "tiles"
#: Kinds of numbers and dimensions of each array of a layer or a tile.
_KINDS = {
    **dict.fromkeys(("weight", "predicted", "g_pos", "g_neg"), ("f", 2)),
    **dict.fromkeys(("bias", "g_per_weight"), ("f", 1)),
    **dict.fromkeys(("rows", "columns"), ("iu", 1)),
    **dict.fromkeys(("mask", "present"), ("b", 2)),
    **dict.fromkeys(("chosen_pos", "chosen_neg"), ("u", 2)),
}
_OF_DIE = {"die": ("f", 4), "stuck": ("iu", 4)}


def _arrays(mapped: MappedNetwork) -> dict[str, np.ndarray]:
    """Return every array of the network under a name that tells where it belongs."""
    arrays = {f"die/{name}": ohms for name, ohms in (mapped.die.table or {}).items()}
    arrays |= {f"stuck/{name}": states for name, states in (mapped.die.stuck or {}).items()}
    for k, layer in enumerate(mapped.layers):
        for name in _LAYER_ARRAYS:
            if getattr(layer.source, name) is not None:
                arrays[f"{k}/{name}"] = getattr(layer.source, name)
        arrays |= {f"{k}/{name}": getattr(layer, name) for name in _SCALE_ARRAYS}
        for name in _TILE_ARRAYS:
            each = [getattr(tile, name).ravel() for tile in layer.tiles]
            arrays[f"{k}/{_JOINED}/{name}"] = np.concatenate(each)
    return arrays


def _describe_layer(layer: MappedLayer) -> LayerHeader:
    source = layer.source
    return LayerHeader(
        name=source.name,
        module=source.module,
        n_mvm=source.n_mvm,
        n_real=list(source.n_real),
        conv=plain(source.conv) if source.conv else None,
        tiles=[tile.index for tile in layer.tiles],
        sizes=[(tile.n_word, tile.n_bit) for tile in layer.tiles],
    )


def _network(header: Header, arrays: dict[str, np.ndarray]) -> MappedNetwork:
    """Return the network of a header and the arrays that it lists."""
    layers = tuple(_load_layer(header, k, arrays) for k in range(len(header.layers)))
    table, stuck = (
        {name.removeprefix(f"{kind}/"): a for name, a in arrays.items() if name.startswith(kind)}
        for kind in _OF_DIE
    )
    bank = built(ResistorBank, header.bank, "bank")
    die = Die(bank, header.seed, table or None, stuck or None)
    return MappedNetwork(layers, die, built(TileConfig, header.tile, "tile"))


def _load_layer(header: Header, k: int, arrays: dict[str, np.ndarray]) -> MappedLayer:
    entry = header.layers[k]
    conv = None if entry.conv is None else built(ConvGeometry, entry.conv, f"{entry.name}: conv")
    matrices = [arrays[f"{k}/{name}"] for name in ("weight", "mask", "predicted")]
    if conv and conv.groups > 1 and header.version < 3:
        matrices = [GroupedMatrix.of(matrix, conv.groups).values for matrix in matrices]
    weight, mask, predicted = matrices
    layer = PrunedLayer(
        entry.name,
        weight,
        mask,
        arrays.get(f"{k}/bias"),
        conv=conv,
        module=entry.module,
        n_mvm=entry.n_mvm,
        n_real=tuple(entry.n_real),
    )
    each = zip(*(_of_tiles(k, entry, name, arrays) for name in _TILE_ARRAYS), strict=True)
    tiles = tuple(
        Tile(entry.name, index, *parts) for index, parts in zip(entry.tiles, each, strict=True)
    )
    return MappedLayer(layer, arrays[f"{k}/g_per_weight"], predicted, tiles)


def _of_tiles(
    k: int, entry: LayerHeader, name: str, arrays: dict[str, np.ndarray]
) -> list[np.ndarray]:
    """Return one array of each tile of a layer; ValueError unless its length is that of all."""
    if entry.sizes is None:
        return [arrays[f"{k}/{t}/{name}"] for t in range(len(entry.tiles))]
    lines = {"rows": lambda size: size[:1], "columns": lambda size: size[1:]}
    shapes = [lines[name](size) if name in lines else size for size in entry.sizes]
    ends = list(accumulate(map(math.prod, shapes)))
    joined = arrays[f"{k}/{_JOINED}/{name}"]
    if (ends[-1] if ends else 0) != len(joined):
        raise ValueError(
            f"{k}/{_JOINED}/{name} has {len(joined)} numbers; the sizes of its tiles make "
            f"{ends[-1] if ends else 0}"
        )
    parts = np.split(joined, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def _read(path: Path) -> tuple[Header, dict[str, np.ndarray]]:
    """Return header and arrays of a file, having checked format, version, names and checksums."""
    arrays = read_npz(path)
    if "header" not in arrays:
        raise ValueError(f"{path} is not a {FORMAT}: it has no header")
    try:
        header = Header.read(arrays.pop("header").tobytes())
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
    sums = {name: _digest(array) for name, array in arrays.items()}
    if sums != header.sha256:
        names = sorted(set(sums.items()) ^ set(header.sha256.items()))
        raise ValueError(f"{path} is damaged: the checksum of {names[0][0]!r} does not match")
    _check_arrays(header, arrays)
    return header, arrays


def _check_arrays(header: Header, arrays: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless the arrays are those of the layers and tiles of a header."""
    expected = {}
    for k, layer in enumerate(header.layers):
        names = [f"{k}/{name}" for name in (*_LAYER_ARRAYS, *_SCALE_ARRAYS)]
        expected |= {name: _KINDS[name.rpartition("/")[2]] for name in names}
        joined = layer.sizes is not None
        for place in [_JOINED] if joined else range(len(layer.tiles)):
            for name in _TILE_ARRAYS:
                kinds, n_dim = _KINDS[name]
                expected[f"{k}/{place}/{name}"] = kinds, 1 if joined else n_dim
    # A die's tables may hold more layers than these, those of biases for instance.
    tables = [name.partition("/") for name in arrays]
    expected |= {f"{a}/{b}": _OF_DIE[a] for a, _, b in tables if a in _OF_DIE and is_word(b)}
    needless = {f"{k}/bias" for k in range(len(header.layers))}
    wrong = sorted((expected.keys() - needless - arrays.keys()) | (arrays.keys() - expected.keys()))
    if wrong:
        raise ValueError(f"its header and its arrays do not match: {wrong[0]!r}")
    for name, array in arrays.items():
        kinds, n_dim = expected[name]
        if array.dtype.kind not in kinds or array.ndim != n_dim:
            raise ValueError(
                f"{name} is of {array.dtype} and has shape {array.shape}; expected {n_dim} "
                f"dimensions of kind {' or '.join(kinds)}"
            )


def _digest(array: np.ndarray) -> str:
    """SHA-256 of an array's kind, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
