"""Converters: passes that add up to the input, and errors of the stated size."""

import numpy as np
import pytest
import torch

from approx import approx
from crossbar_sim.periphery.conversion import Errors, adc_errors, dac_errors, passes, quantise
from crossbar_sim.periphery.converters import Converters, n_pass

X = torch.linspace(-1.5, 1.5, 121)[:, None] * torch.tensor([1.0, 0.3])
MODES = [
    (drive, inputs) for drive in ("bipolar", "two-phase") for inputs in ("analog", "bit-serial")
]


@pytest.mark.parametrize(("drive", "inputs"), MODES)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [2, 5, 12])
def test_passes_add_up_to_the_rounded_input(drive, inputs, signed, bits):
    converters = Converters(dac_bits=bits, drive=drive, inputs=inputs)
    found = passes(X, converters, 1.5, signed=signed)
    assert len(found) == n_pass(converters, signed=signed)
    total = sum(weight * drive for weight, drive in found)
    halves = 2 if drive == "bipolar" and signed else 1
    step = halves / (2**bits - halves)
    wanted = X / 1.5 if signed else X.clamp(min=0) / 1.5
    assert (total - wanted).abs().max() <= step / 2 + 1e-6
    assert all(drive.abs().max() <= 1 for _, drive in found)
    if inputs == "bit-serial":
        assert {float(v) for _, drive in found for v in drive.unique()} <= {-1.0, 0.0, 1.0}
    if drive == "two-phase":
        assert all(drive.min() >= 0 for _, drive in found)


def test_number_of_passes():
    assert n_pass(Converters(), signed=True) == 1
    assert n_pass(Converters(drive="two-phase"), signed=True) == 2
    assert n_pass(Converters(drive="two-phase"), signed=False) == 1
    serial = {"dac_bits": 8, "inputs": "bit-serial"}
    assert n_pass(Converters(**serial), signed=False) == 8
    assert n_pass(Converters(**serial), signed=True) == 7, "the sign is the drive's"
    assert n_pass(Converters(**serial, drive="two-phase"), signed=True) == 16


def test_errors_have_the_stated_spread_and_come_from_the_seed():
    real = Converters(dac_gain_sigma=0.01, dac_offset_sigma=2e-3, adc_offset_sigma=3e-3, seed=4)
    errors = dac_errors(real, 4000, "fc")
    assert float(errors.gain.std()) == approx(0.01, rel=0.05)
    assert float(errors.offset.std()) == approx(2e-3 / 0.2, rel=0.05)
    assert float(adc_errors(real, 4000, "fc", 0.5).offset.std()) == approx(6e-3, rel=0.05)
    again, other = dac_errors(real, 4000, "fc"), dac_errors(real, 4000, "fc2")
    assert torch.equal(errors.gain, again.gain)
    assert not torch.equal(errors.gain, other.gain)


def test_a_gain_and_an_offset_act_as_their_signs_say():
    errors = Errors(torch.tensor([0.1, -0.1]), torch.tensor([0.02, -0.03]), torch.zeros(2, 4))
    found = errors.apply(torch.tensor([[0.5, 0.5], [-0.5, 0.0]]))
    assert found.tolist() == [approx([0.57, 0.42]), approx([-0.53, -0.03])]


def test_the_error_curve_is_smooth_and_as_high_as_stated():
    errors = dac_errors(Converters(dac_inl=0.01), 50, "fc")
    u = torch.linspace(0, 1, 2001)[:, None].expand(-1, 50)
    deviation = errors.apply(u) - u
    assert torch.allclose(deviation.abs().max(dim=0).values, torch.tensor(0.01), rtol=1e-3, atol=0)
    assert deviation[[0, -1]].abs().max() < 1e-6
    assert deviation.diff(dim=0).abs().max() < 0.01 * 4 * 4 * np.pi / 2000, "no steps"
    assert torch.allclose(errors.apply(-u), -errors.apply(u), atol=0)


def test_ideal_converters_make_no_error():
    errors = adc_errors(Converters(), 3, "fc", 0.1)
    assert torch.equal(errors.apply(torch.full((2, 3), 0.7)), torch.full((2, 3), 0.7))


def test_quantise():
    x = torch.tensor([-2.0, -0.5, 0.0, 0.26, 0.9, 5.0])
    assert quantise(x, None, 1.0, signed=True).tolist() == approx([-1, -0.5, 0, 0.26, 0.9, 1])
    assert quantise(x, 2, 1.0, signed=False).tolist() == approx([0, 0, 0, 1 / 3, 1, 1])
    assert quantise(x, 2, 1.0, signed=True).tolist() == approx([-1, -0.0, 0, 0, 1, 1])
    assert len(quantise(torch.linspace(-1, 1, 999), 4, 1.0, signed=True).unique()) == 15
    assert len(quantise(torch.linspace(0, 1, 999), 4, 1.0, signed=False).unique()) == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"v_read": 0}, "v_read must be greater than or equal to 1e-06"),
        ({"dac_bits": 25}, "dac_bits must be less than or equal to 24"),
        ({"adc_range": 0.0}, "adc_range must be greater than or equal to 1e-30"),
        ({"dac_range": float("nan")}, "dac_range must be less than or equal to 1e.30; got nan"),
        ({"drive": "unipolar"}, "drive must be 'bipolar' or 'two-phase'; got 'unipolar'"),
        ({"inputs": "serial"}, "inputs must be 'analog' or 'bit-serial'"),
        ({"inputs": "bit-serial"}, "bit-serial inputs need dac_bits"),
        ({"inputs": "bit-serial", "dac_bits": 1}, "need dac_bits of 2"),
        ({"adc_inl": 1.0}, "adc_inl must be less than 1; got 1.0"),
        ({"dac_gain_sigma": -0.1}, "dac_gain_sigma must be greater than or equal to 0"),
    ],
)
def test_bad_converters(options, message):
    with pytest.raises(ValueError, match=message):
        Converters(**options)


@pytest.mark.parametrize("grad", [False, True])
def test_a_signed_converter_of_one_bit_tells_the_sign(grad):
    x = torch.tensor([-3.0, -1e-9, 0.0, 1e-9, 0.7], requires_grad=grad)
    found = quantise(x.clone(), 1, 0.5, signed=True)
    assert found.tolist() == approx([-0.5, -0.5, 0.5, 0.5, 0.5])
    if grad:
        found.sum().backward()
        assert x.grad.tolist() == [0, 1, 1, 1, 0], "passes where the range does not clip"


def test_converters_are_of_seed_0_and_ideal_ones_of_24_bits():
    assert Converters() == Converters(seed=0)
    assert Converters(adc_bits=8).half_step == 2.0**-9
    assert Converters().half_step == 2.0**-25


def test_pulses_take_one_bit_of_a_dac():
    assert Converters(dac_bits=8).drive_bits == 8
    assert Converters(dac_bits=8, inputs="bit-serial").drive_bits == 1


def test_the_errors_of_a_seed_are_the_same_for_ever():
    """Kept numbers: a die's converters must not become others when the code changes."""
    real = Converters(dac_gain_sigma=0.01, adc_gain_sigma=0.02, seed=1)
    assert dac_errors(real, 2, "fc").gain.tolist() == approx(
        [3.66278016e-3, -8.50715092e-4], rel=1e-6
    )
    assert adc_errors(real, 2, "fc", 0.5).gain.tolist() == approx(
        [1.14237377e-2, 1.08775189e-2], rel=1e-6
    )
    bend = dac_errors(Converters(dac_inl=0.01, seed=1), 1, "fc").bend[0].tolist()
    assert bend == approx([2.1524113e-3, -5.1923883e-3, 2.8859882e-3, -1.6597441e-3], rel=1e-7)
