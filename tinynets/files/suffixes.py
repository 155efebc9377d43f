"""The suffixes of files of networks: what a file holds, in words, and the extra that reads it."""

from collections.abc import Iterable
from typing import Literal, NamedTuple


class Format(NamedTuple):
    """What the files of a suffix hold.

    kind: "graph" for a whole network, "weights" for those of one that something else describes.
    text: what messages call such a file.
    extra: of this program, and name of the package in it that reads them; "" for none.
    """

    kind: Literal["graph", "weights"]
    text: str
    extra: str = ""


#: `tinynets.formats.readers` has the reader of each.
FORMATS = {
    ".onnx": Format("graph", "an ONNX network", "onnx"),
    ".safetensors": Format("weights", "a file of weights"),
    ".pt": Format("weights", "a file of weights"),
    ".pth": Format("weights", "a file of weights"),
}
GRAPHS = tuple(suffix for suffix, format in FORMATS.items() if format.kind == "graph")
WEIGHTS = tuple(suffix for suffix, format in FORMATS.items() if format.kind == "weights")


def listed(suffixes: Iterable[str]) -> str:
    """Return suffixes as text, such as ".onnx, .pt or .pth"."""
    *others, last = suffixes
    return f"{', '.join(others)} or {last}" if others else last
