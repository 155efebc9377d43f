"""Time of pruning: compared with training, on ten million weights, and to extract a ResNet-18.

Run: python -m benchmarks.pruning.pruning_speed  (about 4 minutes on one core)
"""

import statistics

import torch
from torch import nn

import tinynets
from benchmarks.common import machine, print_table, save_json, timed
from tinynets.data import Data, mnist
from tinynets.modules.replacing import copied
from tinynets.networks.masks import apply_masks, choose, weight_layers
from tinynets.networks.models import mlp
from tinynets.networks.training import train
from tinynets.pruning.scores import activation, magnitude

EPOCHS, REPEATS = 1, 5
SCOPES = ("global", "layer", "output", "2:4")


class Block(nn.Module):
    """The basic block of a residual network."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(n_out), nn.BatchNorm2d(n_out)
        self.down = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.down = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.down(x))


def resnet18() -> nn.Sequential:
    """Return ResNet-18 for images of 224 × 224 (11.7 million parameters).

    Source: He et al., CVPR 2016.
    """
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    blocks, n_in = [], 64
    for n_out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(n_in, n_out, stride), Block(n_out, n_out, 1)]
        n_in = n_out
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *blocks, *head)


def convolutional() -> nn.Sequential:
    """Return a small network for digits of 28 × 28."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 144, 10),
    )


def beside_training(model: nn.Module, data: Data) -> dict:
    """Return seconds of training alone, and of pruning with it; medians of REPEATS."""

    def plain() -> None:
        train(copied(model), data, epochs=EPOCHS)

    def pruned() -> None:
        tinynets.prune(model, data, method="magnitude", sparsity=0.9, epochs=EPOCHS)

    plain()  # the first run includes the start of torch
    pairs = [(timed(plain)[2], timed(pruned)[2]) for _ in range(REPEATS)]
    alone, both = (statistics.median(column) for column in zip(*pairs))
    return {"train_s": alone, "prune_and_train_s": both, "overhead": both / alone - 1}


def ten_million() -> dict[str, float]:
    """Return seconds for scores and masks of ten million weights by scope, and to apply them."""
    layers = [nn.Linear(2000, 2000), nn.ReLU(), nn.Linear(2000, 2000), nn.Linear(2000, 1000)]
    model = nn.Sequential(*layers)
    prunable = weight_layers(model)

    def masks(scope: str) -> dict:
        return choose(magnitude(prunable), None if ":" in scope else 0.9, scope)

    seconds = {f"magnitude, {scope}": timed(lambda s=scope: masks(s))[2] for scope in SCOPES}
    x = torch.rand(128, 2000)
    seconds["activation, output"] = timed(
        lambda: choose(activation(model, prunable, x), 0.9, "output")
    )[2]
    chosen = masks("global")
    seconds["put into force"] = timed(lambda: apply_masks(model, chosen))[2]
    return seconds


def extraction() -> dict[str, float]:
    """Return seconds to fold and to extract a ResNet-18; extraction includes one forward pass."""
    model, example = resnet18().eval(), torch.zeros(1, 3, 224, 224)
    with torch.no_grad():
        model(example)
        forward = min(timed(lambda: model(example))[2] for _ in range(3))
    folded, _, fold = timed(lambda: tinynets.fold_batch_norm(model))
    assert isinstance(folded, nn.Module)
    extract = min(timed(lambda: tinynets.extract(folded, example))[2] for _ in range(3))
    n_parameter = sum(p.numel() for p in model.parameters())
    seconds = {"forward_s": forward, "fold_s": fold, "extract_s": extract}
    return {"n_parameter": n_parameter, **seconds}


def main() -> None:
    """Measure, print and keep. Times are processor time of one thread."""
    torch.set_num_threads(1)
    host = machine() | {"threads": 1}
    flat, images = (mnist(seed=0, flat=flat) for flat in (True, False))
    beside = {
        "784-300-100-10": beside_training(mlp((784, 300, 100, 10)), flat),
        "convolutional": beside_training(convolutional(), images),
    }
    rows = [[name, *seconds.values()] for name, seconds in beside.items()]
    print_table(
        f"{EPOCHS} epoch of MNIST", ["network", "train s", "prune + train s", "overhead"], rows
    )
    weights, resnet = ten_million(), extraction()
    print_table("ten million weights", ["what", "s"], [list(pair) for pair in weights.items()])
    print_table("ResNet-18", ["what", "value"], [list(pair) for pair in resnet.items()])
    results = {"beside_training": beside, "ten_million_s": weights, "resnet18": resnet}
    save_json("pruning_speed", {"machine": host, **results})


if __name__ == "__main__":
    main()
