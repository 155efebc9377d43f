"""A script that runs images through the tiles of a convolution, position by position."""

from mapping.network.mapped_layer import MappedLayer
from tinynets.files.templates import rendered


def driver(layer: MappedLayer) -> str:
    """Return a Python script for the directory of a convolution.

    The script imports only NumPy. Only the layer's name (letters and digits) and integers are
    inserted into its text. Raises ValueError for a dense layer.
    """
    conv = layer.source.conv
    if conv is None:
        raise ValueError(f"layer {layer.name!r} is not a convolution; its run.cir is enough")
    values = {"name": layer.name, "n_out": layer.source.n_out, "conv": conv}
    return rendered("netlists.spice", "run.py.j2", **values)
