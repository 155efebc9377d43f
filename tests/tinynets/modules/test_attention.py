"""Attention with a layer for each projection, against torch's own."""

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from tinynets import extract, fold_batch_norm, load_weights, prune, save_weights
from tinynets.data import digits
from tinynets.modules.attention import Attention
from tinynets.modules.unpacking import unpacked
from tinynets.networks.masks import masks_of

CAUSAL = torch.ones(5, 5, dtype=torch.bool).triu(1)
PADDED = torch.zeros(2, 5, dtype=torch.bool)
PADDED[0, 3:] = True
PADDINGS = [None, PADDED, -2.0 * PADDED]
MASKS = [None, CAUSAL, torch.linspace(-2, 2, 150).reshape(6, 5, 5), CAUSAL | True]

#: Weights wanted, of their mean, mask, padding, whether the mask's kind is told.
CASES = list(itertools.product(*[[True, False]] * 2, MASKS, PADDINGS, [True, False]))


def is_close(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return torch.allclose(a, b, rtol=0, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("sizes", [{}, {"kdim": 8, "vdim": 6}])
@pytest.mark.parametrize("more", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_attention_is_torchs_for_every_option_and_mask(bias, batch_first, sizes, more):
    options = {"bias": bias, "batch_first": batch_first, **sizes, **more}
    theirs, other = (nn.MultiheadAttention(12, 3, **options).eval() for _ in range(2))
    ours, loaded = unpacked(theirs), unpacked(other)
    assert ours is not theirs
    assert type(theirs) is nn.MultiheadAttention
    assert set(ours.state_dict()) == set(theirs.state_dict())
    loaded.load_state_dict(theirs.state_dict())
    x = [torch.randn(2, 5, n) for n in (12, sizes.get("kdim", 12), sizes.get("vdim", 12))]
    x = x if batch_first else [part.transpose(0, 1) for part in x]
    with torch.no_grad():
        for need, mean, mask, pad, hint in CASES:
            given: Any = {"need_weights": need, "average_attn_weights": mean, "attn_mask": mask}
            given |= {"key_padding_mask": pad, "is_causal": hint and mask is not None}
            wanted = theirs(*x, **given)
            for mine in (ours, loaded):
                assert all(map(is_close, mine(*x, **given), wanted)), given
        one = [part[0] if batch_first else part[:, 0] for part in x]
        assert all(map(is_close, ours(*one), theirs(*one)))
    with pytest.raises(RuntimeError, match="pass attn_mask as well"):
        ours(*x, is_causal=True)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_encoders_and_decoders_are_torchs(norm_first, batch_first):
    options: Any = {"batch_first": batch_first, "norm_first": norm_first}
    decoder = nn.TransformerDecoderLayer(8, 2, 16, **options).eval()
    layer = nn.TransformerEncoderLayer(8, 2, 16, **options)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x, memory = torch.randn(5, 5, 8), torch.randn(5, 5, 8)
    with torch.no_grad():
        assert is_close(unpacked(decoder)(x, memory, CAUSAL), decoder(x, memory, CAUSAL))
        assert is_close(unpacked(encoder)(x, CAUSAL), encoder(x, CAUSAL))


def test_extract_lists_the_four_projections_and_the_digital_rest():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    network = extract(model, torch.randn(3, 5, 8))
    inside = ["q_proj", "k_proj", "v_proj", "out_proj"]
    paths = [f"self_attn.{name}" for name in inside] + ["linear1", "linear2"]
    assert sorted(layer.module for layer in network.layers) == sorted(paths)
    assert {layer.n_mvm for layer in network.layers} == {5}
    left = {one.module: one.n_mac for one in network.left}
    assert left["self_attn"] == 2 * 5 * 5 * 8  # queries times keys, and scores times values
    assert type(model.self_attn) is nn.MultiheadAttention


def test_products_are_counted_whatever_comes_first():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.transpose(0, 1)
            return self.attention(x, x, x)[0].transpose(0, 1)

    network = extract(Block().eval(), torch.randn(3, 5, 8))
    assert {layer.n_mvm for layer in network.layers} == {5}


def test_masks_and_weights_go_both_ways(tmp_path):
    theirs = nn.MultiheadAttention(8, 2)
    torch_prune.random_unstructured(theirs, "in_proj_weight", 0.5)
    mask = theirs.get_buffer("in_proj_weight_mask")
    ours = unpacked(theirs)
    masks = masks_of(ours)
    joined = torch.cat([masks[f"{name}_proj"] for name in "qkv"])
    assert torch.equal(joined, mask == 1)
    assert "q_proj.weight_orig" in ours.state_dict()
    second = unpacked(nn.MultiheadAttention(8, 2))
    load_weights(second, save_weights(ours, tmp_path / "ours.safetensors"))
    plain = nn.MultiheadAttention(8, 2)
    load_weights(plain, tmp_path / "ours.safetensors")
    assert torch.equal(plain.in_proj_weight, theirs.in_proj_weight)
    assert torch.equal(second.state_dict()["in_proj_weight"], theirs.in_proj_weight)


class Own(nn.MultiheadAttention):
    """A subclass, whose pass may be anything."""


def hooked() -> nn.Module:
    module = nn.MultiheadAttention(8, 2)
    module.register_forward_hook(lambda _m, _x, y: (2 * y[0], y[1]))
    return module


@pytest.mark.parametrize(
    "make",
    [
        lambda: Own(8, 2),
        hooked,
        lambda: parametrizations.weight_norm(nn.MultiheadAttention(8, 2), "in_proj_weight"),
    ],
)
def test_attention_with_something_of_its_own_is_refused_by_name(make):
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model.self_attn = make()
    assert unpacked(model) is model
    with pytest.raises(ValueError, match=r"'self_attn' .* cannot be mapped .*leave_digital"):
        extract(model, torch.randn(3, 5, 8))


def test_only_what_is_asked_for_is_unpacked_wherever_it_stands():
    attention = nn.MultiheadAttention(8, 2)
    model = nn.ModuleDict({"a": attention, "b": attention, "c": nn.MultiheadAttention(8, 2)})
    both: Any = unpacked(model, only=["a.q_proj"])
    assert isinstance(both["a"], Attention)
    assert both["a"] is both["b"]
    assert type(both["c"]) is nn.MultiheadAttention
    assert unpacked(model, leave=("a", "c")) is model
    assert unpacked(model, only=["a"]) is model


def test_batch_norms_fold_beside_attention():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.fc, self.norm = nn.Linear(40, 6), nn.BatchNorm1d(6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.fc(self.attention(x, x, x)[0].flatten(1)))

    model, x = unpacked(Block()).eval(), torch.randn(3, 5, 8)
    folded = fold_batch_norm(model)
    assert isinstance(folded.norm, nn.Identity)
    assert is_close(folded(x), model(x))


def test_projections_are_pruned_unless_the_whole_module_is_excluded():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.fc = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.reshape(-1, 8, 8)
            return self.fc(self.attention(x, x, x)[0].flatten(1))

    options: Any = {"sparsity": 0.5, "scope": "layer", "rounds": 1, "epochs": 0}
    model, data = Net(), digits(seed=0, flat=True)
    shares = {
        path: float(m.float().mean()) for path, m in masks_of(prune(model, data, **options)).items()
    }
    inside = [f"attention.{name}_proj" for name in ("q", "k", "v", "out")]
    assert shares == dict.fromkeys([*inside, "fc"], 0.5)
    left = prune(model, data, exclude=("attention",), **options)
    assert type(left.attention) is nn.MultiheadAttention
    assert bool(left.attention.get_parameter("in_proj_weight").all())
