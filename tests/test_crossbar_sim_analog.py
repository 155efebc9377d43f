"""Networks on the die: equal to the digital ones when everything is ideal."""

import numpy as np
import pytest
import torch
from torch import nn

from crossbar_sim import Converters, to_torch
from crossbar_sim.analog import InputRange, circuit_inputs, input_ranges
from crossbar_sim.converters import quantise
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets.extraction import extract
from tinynets.models import digits_cnn, mlp

#: So many branches that selection errs by less than float32 does.
PRECISE = ResistorBank(n=14, sigma_local=0.02)


class Strange(nn.Module):
    """Residual, concatenation, batch norm, groups, dilation, stride: any graph will do."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(4)
        self.b = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.c = nn.Conv2d(8, 3, (2, 3), stride=(2, 1))
        self.d = nn.Conv1d(9, 2, 3, padding="same")
        self.e = nn.Linear(5, 3)

    def forward(self, x):
        x = self.norm(self.a(x))
        x = torch.cat([x, torch.relu(x + self.b(x))], dim=1)
        x = self.c(x)
        return self.e(self.d(x.flatten(1).unflatten(1, (9, -1)))[..., :5])


def on_ideal_die(model, example, **options):
    mapped = map_network(extract(model, example), Die(PRECISE, seed=1), TileConfig(16, 8))
    options = {"wires": Wires(), "periphery": Periphery(), "converters": Converters()} | options
    return mapped, to_torch(model, mapped, calibration=example, **options)


def difference(a, b, x):
    with torch.no_grad():
        return float((a(x) - b(x)).abs().max() / a(x).abs().max())


@pytest.mark.parametrize(
    ("model", "shape"),
    [(mlp((9, 7, 4)), (5, 9)), (digits_cnn((3, 4)), (3, 1, 8, 8)), (Strange(), (3, 2, 6, 7))],
)
def test_ideal_parts_give_the_digital_network(model, shape):
    torch.manual_seed(0)
    x = torch.rand(shape)
    model.eval()
    _, analog = on_ideal_die(model, x)
    assert difference(model, analog, x) < 2e-5


def test_a_linear_layer_on_sequences():
    model, x = nn.Sequential(nn.Linear(4, 3)), torch.rand(2, 5, 4)
    _, analog = on_ideal_die(model, x)
    assert analog(x).shape == (2, 5, 3)
    assert difference(model, analog, x) < 2e-5


def test_wires_and_converters_move_the_outputs_a_little():
    torch.manual_seed(0)
    model, x = mlp((20, 16, 4)).eval(), torch.rand(8, 20)
    _, wired = on_ideal_die(model, x, wires=Wires(5, 5))
    _, coarse = on_ideal_die(model, x, converters=Converters(dac_bits=6, adc_bits=6))
    _, fine = on_ideal_die(model, x, converters=Converters(dac_bits=12, adc_bits=12))
    assert 1e-5 < difference(model, wired, x) < 0.2
    assert difference(model, fine, x) < 0.1 * difference(model, coarse, x)
    _, low_gain = on_ideal_die(model, x, periphery=Periphery(tia_gain=100.0))
    assert 1e-3 < difference(model, low_gain, x) < 0.2


def test_inputs_beyond_the_calibrated_range_saturate_and_are_counted():
    model, x = mlp((4, 3)).eval(), torch.rand(6, 4)
    _, analog = on_ideal_die(model, x, converters=Converters(adc_bits=8, dac_bits=8))
    with torch.no_grad():
        assert analog.fc1.n_saturated == 0
        analog(x)
        assert analog.fc1.n_saturated == 0
        analog(3 * x)
        assert analog.fc1.n_saturated > 0


def test_signed_inputs_get_a_signed_range():
    model, x = mlp((4, 3)).eval(), torch.randn(16, 4)
    mapped, analog = on_ideal_die(model, x)
    assert input_ranges(model, mapped, x)["fc1"] == InputRange(float(x.abs().max()), True)
    assert difference(model, analog, x) < 2e-5


def test_circuit_inputs_are_voltages_of_im2col_rows():
    model, x = digits_cnn((2, 3)).eval(), torch.rand(2, 1, 8, 8)
    mapped, analog = on_ideal_die(model, x)
    volts = circuit_inputs(analog, mapped, x)
    assert {name: v.shape for name, v in volts.items()} == {
        "conv1": (128, 9),
        "conv2": (128, 18),
        "fc": (2, 48),
    }
    assert np.abs(volts["conv1"]).max() == pytest.approx(0.2)


def test_nan_inputs_are_refused():
    model, x = mlp((4, 3)).eval(), torch.full((2, 4), torch.nan)
    with pytest.raises(ValueError, match="NaN or inf on calibration data"):
        on_ideal_die(model, x)


def test_quantise():
    x = torch.tensor([-2.0, -0.5, 0.0, 0.26, 0.9, 5.0])
    assert quantise(x, None, 1.0, signed=True).tolist() == pytest.approx(
        [-1, -0.5, 0, 0.26, 0.9, 1]
    )
    assert quantise(x, 2, 1.0, signed=False).tolist() == pytest.approx([0, 0, 0, 1 / 3, 1, 1])
    assert quantise(x, 2, 1.0, signed=True).tolist() == pytest.approx([-1, -0.0, 0, 0, 1, 1])
    assert len(quantise(torch.linspace(-1, 1, 999), 4, 1.0, signed=True).unique()) == 15
    assert len(quantise(torch.linspace(0, 1, 999), 4, 1.0, signed=False).unique()) == 16
