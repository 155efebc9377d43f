"""What parts cost of a loss is what the loss loses when they change."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from approx import approx
from crossbar_sim import Converters, Hardware, to_torch
from crossbar_sim.findings import sensitivity
from crossbar_sim.findings.sensitivity import summed, tile_costs
from crossbar_sim.gradients.part_costs import part_costs
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires, array_circuit
from tinynets import extract

#: By how much a resistance is changed on either side.
STEP = 1e-3
HARDWARE = Hardware(
    wires=Wires(40.0, 25.0, 200.0),
    periphery=Periphery(tia_gain=300.0, r_input=5.0, v_offset_sigma=1e-3),
    converters=Converters(dac_range=3.0),
)


class Small(nn.Module):
    """A convolution and two layers, all on the die."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=inplace)
        self.conv = nn.Conv2d(1, 3, 3, padding=1, stride=2)
        self.first, self.last = nn.Linear(27, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.first(self.relu(self.conv(x)).flatten(1)))
        return self.last(hidden)


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    torch.manual_seed(0)
    model = Small().double().eval()
    images, labels = torch.rand(6, 1, 6, 6, dtype=torch.float64), torch.arange(6) % 4
    die = Die(ResistorBank(n=6, ratio=1.75, sigma_local=0.05), 1)
    mapped = map_network(extract(model, images[:1]), die, TileConfig(8, 4))
    return {"model": model, "mapped": mapped, "images": images, "labels": labels}


def loss(job: dict[str, Any], hardware: Hardware) -> float:
    on_die = to_torch(job["model"], job["mapped"], hardware, calibration=job["images"])
    with torch.no_grad():
        return float(nn.functional.cross_entropy(on_die(job["images"]), job["labels"]))


def changed(part: str, factor: float) -> Hardware:
    """Return the hardware with other resistances of one kind."""
    wires, ends = HARDWARE.wires, HARDWARE.periphery
    names = {"driver": "r_driver", "word": "r_word", "bit": "r_bit"}
    if part in names:
        name = names[part]
        return replace(HARDWARE, wires=replace(wires, **{name: factor * getattr(wires, name)}))
    more = (factor - 1) * ends.r_tia_input  # in series, so that the gain stays
    return replace(HARDWARE, periphery=replace(ends, r_input=ends.r_input + more))


@pytest.mark.parametrize("part", ["driver", "word", "bit", "tia"])
def test_the_costs_of_all_tiles_are_the_change_of_the_loss(job, part, monkeypatch):
    monkeypatch.setattr(sensitivity, "N_VECTOR", 1000)  # all of them
    on_die = to_torch(job["model"], job["mapped"], HARDWARE, calibration=job["images"])
    costs = tile_costs(on_die, job["mapped"], HARDWARE, job["images"], job["labels"])
    rows = summed(costs, job["mapped"])
    assert [row["layer"] for row in rows] == ["conv", "first", "last"]
    assert set(costs) == {tile.name for tile in job["mapped"].tiles}
    up, down = (loss(job, changed(part, 1 + sign * STEP)) for sign in (1, -1))
    assert sum(row[part] for row in rows) == approx((up - down) / (2 * STEP), rel=1e-4)


def test_a_relu_in_place_changes_no_cost(job):
    other = Small(inplace=True).double().eval()
    other.load_state_dict(job["model"].state_dict())
    costs = []
    for model in (job["model"], other):
        on_die = to_torch(model, job["mapped"], HARDWARE, calibration=job["images"])
        each = tile_costs(on_die, job["mapped"], HARDWARE, job["images"], job["labels"])
        costs.append([one.totals for one in each.values()])
    assert costs[0] == costs[1]
    assert costs[0]


def test_layers_that_no_derivative_reaches_cost_nothing(job):
    class Cut(Small):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).detach()

    model = Cut().double().eval()
    model.load_state_dict(job["model"].state_dict())
    on_die = to_torch(model, job["mapped"], HARDWARE, calibration=job["images"])
    costs = tile_costs(on_die, job["mapped"], HARDWARE, job["images"], job["labels"])
    assert {total for one in costs.values() for total in one.totals.values()} == {0.0}


def test_a_single_segment_costs_what_its_resistance_changes():
    """One cell at the far end, so that each segment carries its current alone."""
    g = np.zeros((2, 2))
    g[0, 1] = 1e-4
    ohms = {"r_word": 30.0, "r_bit": 20.0, "r_driver": 10.0}
    v_in, slope = np.array([[0.2, 0.1]]), np.array([[0.5, 2.0]])
    costs = part_costs(array_circuit(g, Wires(**ohms), Periphery()), v_in, slope)
    total = 1e4 + 2 * 30 + 2 * 20 + 10
    each = -2.0 * 0.2 / total**2  # dL/dr of all that is in series
    assert costs.driver == approx(np.array([10 * each, 0.0]))
    assert costs.word == approx(np.array([[30 * each, 30 * each], [0.0, 0.0]]))
    assert costs.bit == approx(np.array([[0.0, 20 * each], [0.0, 20 * each]]))
    assert costs.cell == approx(np.array([[0.0, 1e4 * each], [0.0, 0.0]]))
    assert costs.tia == approx(np.zeros(2))


def test_ideal_wires_cost_nothing_and_are_left_out(job):
    ideal = Hardware()
    on_die = to_torch(job["model"], job["mapped"], ideal, calibration=job["images"])
    costs = tile_costs(on_die, job["mapped"], ideal, job["images"], job["labels"])
    assert costs == {}
    assert summed(costs, job["mapped"]) == []
