"""Your own network: a torch module to netlists checked by ngspice, many dies, and a pack.

Run: python examples/own_network.py [DIRECTORY] [DIES]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import crossbar_sim as xs
from mapping import MappedNetwork
from netlists import write_pack
from tinynets.data import from_npz
from tinynets.networks.training import train


class Net(nn.Module):
    """Batch norm, a depthwise and a dilated convolution beside a shortcut, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.dilated, self.head = nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu()
        return self.head((x + self.dilated(self.depthwise(x))).relu().flatten(1))


def arrays() -> dict[str, np.ndarray]:
    bunch = load_digits()
    return {"x": bunch.images[:, None] / 16, "y": bunch.target}


def main(output: Path, n_die: int = 10) -> None:
    output.mkdir(parents=True, exist_ok=True)
    np.savez(output / "digits.npz", **arrays())
    data = from_npz(output / "digits.npz", seed=1)
    torch.manual_seed(1)
    model = train(Net(), data, epochs=10, learning_rate=0.01)
    settings = {"network": {"fold_batch_norm": True}, "simulation": {"n_image": 2}}
    run = xs.simulate(model, data, name="own", root=output, settings=settings)
    print(f"report with netlists, all checked by ngspice: {run / 'report.html'}")
    base = xs.given(model, data, settings=settings, name="own")
    plan = xs.StudyConfig(name="dies", base=Path(), dies=n_die)
    dies = xs.Study(plan, base, xs.Store(output / "dies.sqlite")).run(n_jobs=1).summary()[0]
    print(f"accuracy on {dies.n_die} dies: {dies.metric('accuracy').value:.2%}")
    pack = write_pack(MappedNetwork.load(run / "mapped.npz"), output / "pack")
    print(f"pack for fabrication: {pack}")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["results/own_network"]), *map(int, sys.argv[2:]))
