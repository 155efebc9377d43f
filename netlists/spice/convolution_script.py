"""A script that runs images through the tiles of a convolution, position by position."""

from mapping.network.mapped_layer import MappedLayer

_SCRIPT = '''"""Run images through convolution {name}: python run.py IN.npy OUT.npy

IN.npy: (n_image, {channels!r}, height, width) word-line voltages [V]. OUT.npy: (n_image, {n_out!r},
height, width) [V], r_feedback * A / (1 + A) * (i_p - i_n) summed over the tiles, A being the gain
of the TIA; the bias is added digitally.
Every position of the kernel is one input vector (im2col) of run.cir. Needs numpy and ngspice.
"""

import pathlib
import re
import subprocess
import sys

import numpy as np

KERNEL, STRIDE, PADDING, DILATION = {kernel!r}, {stride!r}, {padding!r}, {dilation!r}
MAX_VECTORS = 1000  # in one sweep
HERE = pathlib.Path(__file__).parent


def patches(images):
    """Return the input vectors (n_image * n_position, n_in), and height and width of the output."""
    images = np.pad(images, ((0, 0), (0, 0), *((p, p) for p in PADDING)))
    spans = [d * (k - 1) + 1 for k, d in zip(KERNEL, DILATION)]
    windows = np.lib.stride_tricks.sliding_window_view(images, spans, axis=(2, 3))
    windows = windows[:, :, :: STRIDE[0], :: STRIDE[1], :: DILATION[0], :: DILATION[1]]
    rows = windows.transpose(0, 2, 3, 1, 4, 5)
    return rows.reshape(-1, np.prod(rows.shape[3:])), rows.shape[1:3]


def outputs(rows):
    """Return what the layer makes of input vectors, by one run of ngspice."""
    deck = (HERE / "run.cir").read_text()
    for i, volts in enumerate(rows.T.tolist()):
        points = [(-9e9, volts[0]), *enumerate(volts), (9e9, volts[-1])]  # flat beyond both ends
        table = ", ".join(f"{{x!r}}, {{v!r}}" for x, v in points)
        line = f"bin_{{i}} in_{{i}} 0 v = pwl(v(sel), {{table}})"
        deck = re.sub(rf"^bin_{{i}} .*$", line, deck, flags=re.MULTILINE)
    deck = re.sub(r"^\\.dc .*$", f".dc vsel 0 {{len(rows) - 1}} 1", deck, flags=re.MULTILINE)
    (HERE / "positions.cir").write_text(deck)
    command = ["ngspice", "-b", "positions.cir"]
    subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.DEVNULL)
    return np.loadtxt(HERE / "outputs.txt", skiprows=1, ndmin=2)[:, 1:]


def main(source, target):
    images = np.load(source).astype(float)
    rows, size = patches(images)
    parts = [outputs(rows[k : k + MAX_VECTORS]) for k in range(0, len(rows), MAX_VECTORS)]
    maps = np.concatenate(parts).reshape(len(images), *size, -1)
    np.save(target, maps.transpose(0, 3, 1, 2))


if __name__ == "__main__":
    main(*sys.argv[1:3])
'''


def driver(layer: MappedLayer) -> str:
    """Return a Python script for the directory of a convolution.

    The script imports only NumPy. Only the layer's name (letters and digits) and integers are
    inserted into its text. Raises ValueError for a dense layer.
    """
    conv = layer.source.conv
    if conv is None:
        raise ValueError(f"layer {layer.name!r} is not a convolution; its run.cir is enough")
    return _SCRIPT.format(
        name=layer.name,
        channels=conv.in_channels,
        n_out=layer.source.n_out,
        kernel=conv.kernel,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
    )
