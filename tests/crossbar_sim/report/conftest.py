"""One small report, of a network that is drawn at random and not trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossbar_sim.jobs.run import simulate

#: Every non-ideality of which a report speaks apart.
SETTINGS: dict[str, Any] = {
    "tile": {"n_word": 8, "n_bit": 8},
    "periphery": {"v_offset_sigma": 1e-3, "auto_zero": True, "gbw": 1e8, "v_noise": 1e-8},
    "noise": {"bandwidth": 2e7},
    "simulation": {"n_image": 2},
}


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    x = np.random.default_rng(0).normal(size=(300, 12)).astype("float32")
    with torch.no_grad():
        y = model(torch.from_numpy(x)).argmax(1).numpy()
    y[::7] = (y[::7] + 1) % 3  # some that no network gets right
    root = tmp_path_factory.mktemp("report")
    return simulate(model, {"x": x, "y": y}, name="small", root=root, settings=SETTINGS)
