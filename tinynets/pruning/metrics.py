"""What pruning saves: the size and arithmetic of a network, before and after."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from tinynets.data import Data
from tinynets.modules.replacing import copied
from tinynets.networks.extraction import extract
from tinynets.networks.flops import Counts, count
from tinynets.networks.masks import make_permanent
from tinynets.networks.passes import Inputs
from tinynets.networks.training import accuracy

#: Bits of a parameter at full precision.
FULL_BITS = 32


@dataclass(frozen=True)
class Metrics:
    """Size and work of one network.

    layers: counts of each weight layer for one inference.
    total: their sum.
    n_parameter: all parameters, including biases and digital modules.
    n_nonzero: the parameters that are not zero.
    n_bit: bits that store the non-zero parameters.
    top1: fraction of the test samples classified correctly, or None.
    """

    layers: dict[str, Counts]
    total: Counts
    n_parameter: int
    n_nonzero: int
    n_bit: int
    top1: float | None = None


def measure(
    model: nn.Module,
    example: Inputs,
    data: Data | None = None,
    *,
    bits: int = FULL_BITS,
    leave_digital: tuple[str, ...] = (),
) -> Metrics:
    """Return the metrics of a model, masked or not; the model does not change.

    example: one input batch.
    data: its test samples give the top-1 accuracy; None for no accuracy.
    bits: bits of a stored weight; biases and digital parameters take 32.
    leave_digital: see `extract`; these modules are not part of `layers` and `total`.
    """
    network = extract(model, example, leave_digital=leave_digital)
    layers = {layer.name: count(layer) for layer in network.layers}
    total = sum(layers.values(), Counts(0, 0, 0, 0, 0, 0))
    parameters = list(make_permanent(copied(model)).parameters())
    n_nonzero = sum(int(p.count_nonzero()) for p in parameters)
    return Metrics(
        layers=layers,
        total=total,
        n_parameter=sum(p.numel() for p in parameters),
        n_nonzero=n_nonzero,
        n_bit=FULL_BITS * n_nonzero - (FULL_BITS - bits) * total.n_remaining,
        top1=accuracy(model, data.x_test, data.y_test) if data else None,
    )


def compare(before: Metrics, after: Metrics) -> dict[str, Any]:
    """Return the usual summary of pruning `before` to `after`, ready for JSON.

    Among its keys are these ratios:
    compression_ratio: parameters before over non-zero parameters after.
    theoretical_speedup: MACs before over non-zero MACs after.
    bits_ratio: bits before over bits after.

    Source: Blalock et al., MLSys 2020, arXiv 2003.03033.
    """
    return {
        "size": before.n_parameter,
        "size_nonzero": after.n_nonzero,
        "mac": before.total.n_mac,
        "mac_nonzero": after.total.n_mac_nonzero,
        "flop": before.total.n_flop,
        "flop_nonzero": after.total.n_flop_nonzero,
        "compression_ratio": before.n_parameter / after.n_nonzero,
        "theoretical_speedup": before.total.n_mac / after.total.n_mac_nonzero,
        "bits_ratio": before.n_bit / after.n_bit,
        "top1_before": before.top1,
        "top1_after": after.top1,
        "layers": {name: asdict(counts) for name, counts in after.layers.items()},
    }
