"""Every use of a layer is on the die or refused by name, and the network is the mapped one."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossbar_sim import Hardware, to_torch
from crossbar_sim.on_die import to_torch as module_under_test
from crossbar_sim.on_die.circuit_layer import circuit_layers
from crossbar_sim.on_die.input_moments import second_moments
from crossbar_sim.on_die.to_torch import circuit_inputs
from crossbar_sim.periphery.converters import Converters
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from tinynets.networks.extraction import extract
from tinynets.networks.passes import Inputs, call

#: A coarse die: what was left digital shows.
COARSE = Die(ResistorBank(n=1, sigma_local=0.2, r_off=1e12), seed=3)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def on_die(
    model: nn.Module, x: Inputs, leave: tuple[str, ...] = (), **converters: Any
) -> tuple[nn.Module, MappedNetwork]:
    network = extract(model, x, leave_digital=leave)
    mapped = map_network(network, COARSE, TileConfig(16, 16))
    return to_torch(
        model, mapped, Hardware(converters=Converters(**converters)), calibration=x
    ), mapped


def realised(model: nn.Module, mapped: MappedNetwork) -> nn.Module:
    """Return a digital copy that holds the weights as realised."""
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        for layer in mapped.layers:
            twin.get_submodule(layer.source.module).weight.copy_(
                torch.from_numpy(layer.weight.copy())
            )
    return twin


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


class Twice(nn.Module):
    """A layer that runs twice, on inputs of other signs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.fc(torch.relu(self.fc(x)))))


class Siamese(nn.Module):
    """Two inputs through one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.b(input=torch.abs(self.a(left) - self.a(right)))


class Tokens(nn.Module):
    """Integer inputs, and a head that shares its weight with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 6), nn.Linear(6, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embedding(tokens)))


def shared_path() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
USES = {
    "twice in a pass": (Twice, X, 2),
    "two paths": (shared_path, X, 2),
    "two inputs by position": (Siamese, (X, X.flip(0)), 2),
    "two inputs by name": (Siamese, {"left": X, "right": X.flip(0)}, 2),
    "tokens, a shared weight": (Tokens, torch.arange(40).reshape(20, 2) % 9, 2),
}


@pytest.mark.parametrize("name", USES)
def test_every_pass_of_a_layer_goes_through_the_circuits(name):
    make, x, n_mvm = USES[name]
    model = make().eval()
    analog, mapped = on_die(model, x, dac_range=1e3)  # weights may exceed the calibrated range
    assert mapped.layers[0].source.n_mvm == n_mvm
    with torch.no_grad():
        y, digital, exact = (call(m, x) for m in (analog, model, realised(model, mapped)))
    if name == "tokens, a shared weight":  # the embedding is digital and keeps its values
        assert gap(y, digital) > 1e-2
    else:
        assert gap(y, exact) < 1e-4 < 1e-2 < gap(digital, exact)
    assert sum(layer.n_saturated for layer in circuit_layers(analog).values()) == 0


def test_ranges_moments_and_voltages_take_every_pass_into_account():
    model = Twice().eval()
    analog, mapped = on_die(model, X)
    first = analog.fc.input_range
    assert first.signed, "the second pass sees only positive inputs"
    volts = circuit_inputs(analog, mapped, X)["fc"]
    assert volts.shape == (80, 6)
    assert (volts[:40] < 0).any()
    assert (volts[40:] >= 0).all()
    moment = second_moments(model, extract(model, X), X)("fc", {})
    with torch.no_grad():
        rows = torch.cat([X, torch.relu(model.fc(X))]).double().numpy()
    np.testing.assert_allclose(moment, rows.T @ rows / 80, rtol=1e-5, atol=1e-9)


class Standardised(nn.Linear):
    """A layer with a forward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight - self.weight.mean(), self.bias)


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 3))
    model[0].register_forward_hook(lambda _m, _x, y: 2 * y)
    return model


def pre_hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 3))
    model[0].register_forward_pre_hook(lambda _m, x: (2 * x[0],))
    return model


class Outside(nn.Module):
    """A module whose weight is also read without it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) @ self.fc.weight.T


REFUSED = {
    "a forward of its own": (lambda: nn.Sequential(Standardised(6, 3)), "'0' .* must give"),
    "a hook": (hooked, r"'0' \(Linear\) must give its weight times its input"),
    "a hook on the input": (pre_hooked, "forward pre-hook of module '0' changes its input"),
    "read elsewhere": (Outside, "weight of module 'fc' is also read outside of it, by matmul"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_product_with_the_weight_is_refused_by_name(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        extract(make().eval(), X)
    path = "fc" if name == "read elsewhere" else "0"
    with pytest.raises(ValueError, match="no weight layer to map"):
        extract(make().eval(), X, leave_digital=(path,))


def test_everything_that_stays_digital_is_listed_with_its_work():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lstm = nn.Linear(8, 8), nn.LSTM(8, 8, batch_first=True)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.own = nn.Parameter(torch.randn(8, 8))
            self.register_buffer("table", torch.zeros(3, 4, dtype=torch.int8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x, _ = self.lstm(self.fc(x))
            return self.attention(x, x, x)[0] @ self.own

    x = torch.randn(2, 5, 8)
    left = extract(Mixed().eval(), x, leave_digital=("lstm", "attention")).left
    work = {one.module: (one.n_weight, one.n_mac) for one in left}
    assert work[""] == (64 + 12, 5 * 64)
    assert work["lstm"] == (2 * 4 * 64 + 2 * 32, 5 * 2 * 4 * 64)
    # Three projections, then queries times keys and scores times values.
    assert work["attention"][1] + work["attention.out_proj"][1] == 5 * 4 * 64 + 2 * 5 * 5 * 8
    assert "fc" not in work


def scripted() -> nn.Module:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        return torch.jit.script(nn.Linear(6, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (scripted, "expected an nn.Module in Python"),
        (lambda: torch.export.export(nn.Linear(6, 3), (X,)), "ExportedProgram; expected an nn.Mod"),
        (lambda: torch.export.export(nn.Linear(6, 3), (X,)).module(), "exported program"),
        (lambda: nn.Sequential(nn.ReLU()), "no weight layer to map; .* got 0 .ReLU."),
        (lambda: nn.Linear(6, 3).to(torch.complex64), "'' must have a real weight"),
        (lambda: nn.Sequential(nn.Linear(6, 0)), "'0' must have a real weight"),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element", "ignore:Complex modules")
def test_what_cannot_be_mapped_says_what_to_give(make, message):
    with pytest.raises(ValueError, match=message):
        extract(make(), X)


def test_only_the_network_that_was_mapped_goes_on_the_die():
    def make(n: int) -> nn.Module:
        return nn.Sequential(nn.Linear(6, n), nn.ReLU(), nn.Linear(n, 2)).eval()

    model = make(4)
    mapped = map_network(extract(model, X), COARSE, TileConfig(8, 8))
    shifted = copy.deepcopy(model)
    with torch.no_grad():
        shifted[2].bias += 0.5
    others = {
        r"'0' has a weight of shape \(5, 6\)": make(5),
        "'0' has another weight": make(4),
        "'2' has another bias": shifted,
        "mapped from '2', where the model has no module": nn.Sequential(copy.deepcopy(model[0])),
        "mapped from '0', where the model has ReLU": nn.Sequential(nn.ReLU(), nn.ReLU(), model[2]),
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=message):
            to_torch(other, mapped, Hardware(), calibration=X)


def test_a_fault_in_the_circuits_is_found_on_the_ideal_die(monkeypatch):
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    right = module_under_test.ideal_response

    def wrong(tile: Any) -> Any:
        response = right(tile)
        if tile.name.startswith("layer_2"):
            response.volts[0] *= 1.01
        return response

    monkeypatch.setattr(module_under_test, "ideal_response", wrong)
    with pytest.raises(ValueError, match="on an ideal die, layer '2' would be off by"):
        on_die(model, X)


@pytest.mark.parametrize("converters", [{}, {"dac_bits": 6, "adc_bits": 6}])
def test_a_state_dict_brings_its_ranges(converters):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    mapped = map_network(extract(model, X), COARSE, TileConfig(8, 8))
    hardware = Hardware(converters=Converters(**converters))
    a, b = (to_torch(model, mapped, hardware, calibration=c * X) for c in (1.0, 0.5))
    assert not torch.equal(a(X), b(X))
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(X), b(X))


def test_a_transformer_runs_through_its_circuits_in_torchs_fused_pass():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    for model, leave in (
        (layer.eval(), ("self_attn",)),
        (nn.TransformerEncoder(layer, 2).eval(), ("layers.0.self_attn", "layers.1.self_attn")),
    ):
        x = torch.randn(6, 5, 16)
        analog, mapped = on_die(model, x, leave, dac_range=1e3)
        with torch.no_grad():
            assert gap(analog(x), realised(model, mapped)(x)) < 1e-4


def test_what_stays_digital_has_its_fractions_of_weights_and_work():
    model = nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 4, bias=False)).eval()
    network = extract(model, X, leave_digital=("2",))
    fractions = network.digital_fractions
    assert fractions == {"2": (120 / (180 + 120), 120 / (180 + 120))}
