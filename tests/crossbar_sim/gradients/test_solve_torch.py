"""Derivatives of an array's outputs are those of its circuit, and one solution gives them all."""

from dataclasses import astuple

import numpy as np
import pytest
import torch

from crossbar_sim import TorchAmplifiers, TorchWires, solve, solve_torch
from crossbar_sim.gradients import solve_torch as module
from crossbar_sim.gradients.nodes import TorchLines, nodes, nodes_in_torch
from crossbar_sim.solvers.conjugate_gradients import solve_vectors
from crossbar_sim.solvers.solution import SolverError
from elsewhere import GPU, device_named
from netlists import Periphery, Wires, array_circuit

SHAPE = (2, 5, 3)  # sides, word lines, pairs of bit lines
#: What the dense reference takes, in this order: wires, then amplifiers.
NAMES = ("r_word", "r_bit", "r_driver", "r_feedback", "tia_gain", "r_input", "v_offset")


def parameters(seed: int = 3) -> dict[str, np.ndarray]:
    """Return cells of which a third is missing, inputs, and the resistances around them."""
    rng = np.random.default_rng(seed)
    g = 10 ** rng.uniform(-5.5, -4, size=SHAPE) * (rng.random(SHAPE) < 0.7)
    values = (20.0, 7.0, 90.0, 20e3, 150.0, 4.0)
    given = {"g": g, "v_in": rng.uniform(-0.2, 0.3, (4, SHAPE[1]))}
    given |= {name: np.array(value) for name, value in zip(NAMES, values)}
    return given | {"v_offset": rng.normal(0, 2e-3, SHAPE[0] * SHAPE[2])}


def dense_outputs(given: dict[str, np.ndarray]) -> np.ndarray:
    """Solve the array by dense nodal analysis, of complex numbers too; return v_out."""
    g, v_in = given["g"], given["v_in"]
    r_word, r_bit, r_driver, r_feedback, gain, r_input, v_offset = (given[name] for name in NAMES)
    n_side, n_word, n_bit = g.shape
    share = 1 / (1 + 1 / gain)
    r_tia = r_input + r_feedback / (1 + gain)
    word = np.arange(n_word * n_bit).reshape(n_word, n_bit)
    bit = n_word * n_bit + np.arange(g.size).reshape(g.shape)
    n_node = n_word * n_bit + g.size
    matrix = np.zeros((n_node, n_node), complex)
    drive = np.zeros((n_node, len(v_in)), complex)

    def branch(a, b, conductance):
        matrix[[a, b], [a, b]] += conductance
        matrix[[a, b], [b, a]] -= conductance

    for i in range(n_word):
        matrix[word[i, 0], word[i, 0]] += 1 / (r_driver + r_word)
        drive[word[i, 0]] += v_in[:, i] / (r_driver + r_word)
        for j in range(1, n_bit):
            branch(word[i, j - 1], word[i, j], 1 / r_word)
    for k, (s, j) in enumerate(np.ndindex(n_side, n_bit)):
        for i in range(1, n_word):
            branch(bit[s, i - 1, j], bit[s, i, j], 1 / r_bit)
        matrix[bit[s, -1, j], bit[s, -1, j]] += 1 / (r_bit + r_tia)
        drive[bit[s, -1, j]] += share * v_offset[k] / (r_bit + r_tia)
        for i in range(n_word):
            branch(word[i, j], bit[s, i, j], g[s, i, j])
    volts = np.linalg.solve(matrix, drive)
    ends = volts[bit[:, -1].ravel()].T
    i_out = (ends - share * v_offset) / (r_bit + r_tia)
    return share * (v_offset - i_out * r_feedback)


def outputs_of(given: dict[str, torch.Tensor]) -> torch.Tensor:
    wires = TorchWires(*(given[name] for name in NAMES[:3]))
    ends = TorchAmplifiers(*(given[name] for name in NAMES[3:]))
    return solve_torch(given["g"], given["v_in"], wires, ends).v_out


@pytest.mark.parametrize("name", ["g", "v_in", *NAMES])
def test_derivatives_are_those_of_a_complex_step(name):
    """Squire, Trapp, SIAM Review 40 (1998) 110: the imaginary part, without any cancellation."""
    plain = parameters()
    given = {key: torch.tensor(value, requires_grad=True) for key, value in plain.items()}
    weight = np.random.default_rng(5).normal(size=(4, SHAPE[0] * SHAPE[2]))
    (outputs_of(given) * torch.from_numpy(weight)).sum().backward()
    expected = np.zeros(plain[name].shape)
    for place in np.ndindex(expected.shape):
        moved = plain | {name: plain[name].astype(complex)}
        moved[name][place] += 1e-30j
        expected[place] = (dense_outputs(moved).imag * weight).sum() / 1e-30
    gradient = given[name].grad
    assert gradient is not None
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize(("name", "step"), [("g", 1e-9), ("v_in", 1e-3), ("r_bit", 1e-2)])
def test_derivatives_are_those_of_finite_differences(name, step):
    plain = parameters()
    plain["g"] += 1e-6  # a cell that is missing cannot have less
    given = {key: torch.tensor(value, requires_grad=True) for key, value in plain.items()}
    weight = torch.from_numpy(np.random.default_rng(5).normal(size=(4, SHAPE[0] * SHAPE[2])))
    (outputs_of(given) * weight).sum().backward()
    expected = np.zeros(plain[name].shape)
    for place in np.ndindex(expected.shape):
        ends = []
        for sign in (1, -1):
            moved = {key: torch.tensor(value) for key, value in plain.items()}
            moved[name][place] += sign * step
            ends.append(float((outputs_of(moved) * weight).sum()))
        expected[place] = (ends[0] - ends[1]) / (2 * step)
    gradient = given[name].grad
    assert gradient is not None
    limit = 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=0, atol=limit)


def many(n_array: int = 3) -> dict[str, np.ndarray]:
    """Return the parts of `parameters` with other cells and inputs for each of many arrays."""
    each = [parameters(seed) for seed in range(n_array)]
    return parameters() | {name: np.stack([one[name] for one in each]) for name in ("g", "v_in")}


@pytest.mark.parametrize("device", ["cpu", "elsewhere", pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("shared", [False, True])
def test_arrays_at_once_are_those_one_by_one_with_their_derivatives(shared, device):
    """Derivatives of what arrays share, wires and amplifiers and perhaps inputs, are sums."""
    plain = many()
    if shared:
        plain["v_in"] = plain["v_in"][0]
    weight = np.random.default_rng(5).normal(size=(3, 4, SHAPE[0] * SHAPE[2]))
    alone = {key: torch.tensor(value, requires_grad=True) for key, value in plain.items()}
    each = [
        outputs_of(alone | {"g": alone["g"][k]} | ({} if shared else {"v_in": alone["v_in"][k]}))
        for k in range(3)
    ]
    expected = torch.stack(each)
    (expected * torch.from_numpy(weight)).sum().backward()
    with device_named(device) as there:
        given = {key: torch.tensor(v).to(there).requires_grad_() for key, v in plain.items()}
        found = outputs_of(given)
        (found * torch.from_numpy(weight).to(there)).sum().backward()
        pairs = [(found.detach().cpu(), expected.detach())]
        pairs += [(value.grad.cpu(), alone[name].grad) for name, value in given.items()]
    assert len(pairs) == 10
    assert found.shape == (3, 4, 6)
    for ours, theirs in pairs:
        limit = 1e-12 * float(theirs.abs().max())
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=limit)


def test_arrays_of_a_few_bytes_at_once_are_the_same(monkeypatch):
    given = {key: torch.tensor(value) for key, value in many(5).items()}
    expected, parts, plain = outputs_of(given), [], module.nodes
    monkeypatch.setattr(module, "nodes", lambda *args: parts.append(1) or plain(*args))
    monkeypatch.setattr(module, "MEMORY_OF_CPU", 1)
    assert torch.equal(outputs_of(given), expected)
    assert len(parts) == 5


def test_one_array_that_does_not_converge_is_noticed_among_others(monkeypatch):
    def unsolved(*args):
        word, above, residual = solve_vectors(*args)
        return word, above, residual + (1e-6 if args[0].g[0, 0] == 2e-5 else 0.0)

    monkeypatch.setattr("crossbar_sim.gradients.nodes.solve_vectors", unsolved)
    g, v_in = torch.full((3, 2, 4, 2), 1e-5).double(), torch.ones(4).double()
    assert solve_torch(g, v_in, TorchWires(1, 1)).i_out.shape == (3, 1, 4)
    g[1, 0, 0, 0] = 2e-5
    with pytest.raises(SolverError, match=r"stopped at a relative residual of 1\.0e-06"):
        solve_torch(g, v_in, TorchWires(1, 1))


@pytest.mark.parametrize("wires", [Wires(5.2, 1.8, 100.0), Wires(300.0, 80.0), Wires(1e-3, 1e-3)])
def test_outputs_are_those_of_the_engine(wires):
    rng = np.random.default_rng(1)
    g = 10 ** rng.uniform(-6, -4, size=(24, 16)) * (rng.random((24, 16)) < 0.5)
    v_in = rng.uniform(-0.2, 0.2, size=(7, 24))
    ends = Periphery(tia_gain=1e3, r_input=3.0, v_offset_sigma=1e-3)
    expected = solve(array_circuit(g, wires, ends), v_in, nodes=True)
    parts = TorchWires.of(wires), TorchAmplifiers.of(ends, 16)
    found = solve_torch(torch.from_numpy(g), torch.from_numpy(v_in), *parts)
    for ours, theirs in ((found.i_out, expected.i_out), (found.v_out, expected.v_out)):
        limit = 1e-12 * np.abs(theirs).max()
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=limit)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("ohm", [0.1, 5.0, 1000.0])
def test_products_of_torch_give_the_same_nodes(ohm, device):
    rng = np.random.default_rng(2)
    g = 10 ** rng.uniform(-6, -4, size=(12, 10)) * (rng.random((12, 10)) < 0.6)
    segments = [torch.tensor(1 / r, dtype=torch.float64) for r in (100 + ohm, ohm, ohm, ohm + 2)]
    lines = TorchLines(torch.from_numpy(g), 5, *segments)
    v_in, v_tia = (torch.from_numpy(rng.normal(0, 0.1, size=(6, n))) for n in (12, 10))
    v_in[3], v_tia[3] = 0.0, 0.0
    expected = nodes(lines, v_in, v_tia)
    moved = TorchLines(lines.g.to(device), 5, *(x.to(device) for x in segments))
    found = nodes_in_torch(moved, v_in.to(device), v_tia.to(device))
    assert len(found) == len(expected) == 2
    for ours, theirs in zip(found, expected):
        limit = 1e-10 * float(theirs.abs().max())
        np.testing.assert_allclose(ours.cpu().numpy(), theirs.numpy(), rtol=0, atol=limit)


def test_one_more_solution_gives_all_derivatives(monkeypatch):
    solved, plain = [], module.nodes
    monkeypatch.setattr(module, "nodes", lambda *args: solved.append(1) or plain(*args))
    given = {key: torch.tensor(v, requires_grad=True) for key, v in parameters().items()}
    outputs_of(given).square().sum().backward()
    assert len(solved) == 2


def test_a_network_of_ideal_parts_but_wires_takes_its_defaults():
    found = solve_torch(torch.full((3, 2), 1e-5).double(), torch.ones(3).double(), TorchWires(1, 1))
    plain = solve(array_circuit(np.full((3, 2), np.float64(1e-5)), Wires(1, 1)), np.ones(3))
    assert found.i_out.shape == (1, 2)
    np.testing.assert_allclose(found.i_out.numpy(), plain.i_out, rtol=1e-6, atol=0)
    assert astuple(TorchAmplifiers()) == (20e3, float("inf"), 0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"g": torch.ones(3)}, r"expected g \(n_word, n_bit\).*got \(3,\)"),
        ({"v_in": torch.ones(2, 4).double()}, r"got \(2, 5, 3\) and \(2, 4\)"),
        ({"v_in": torch.ones(2, 4, 5).double()}, r"got \(2, 5, 3\) and \(2, 4, 5\)"),
        (
            {"g": torch.ones(3, 2, 5, 3).double(), "v_in": torch.ones(2, 4, 5).double()},
            r"with as many arrays; got \(3, 2, 5, 3\) and \(2, 4, 5\)",
        ),
        ({"g": torch.ones(2, 5, 3)}, "g must be float64 on the device of g; got torch.float32"),
        ({"g": -torch.ones(2, 5, 3).double()}, "g must not be negative; got -1 S"),
        ({"g": torch.full((2, 5, 3), torch.nan).double()}, "g must be finite"),
        ({"r_bit": 0.0}, r"r_bit must be above 0 ohm; got 0.0: without wires, .* v_in @ g"),
        ({"r_word": float("nan")}, "r_word must be above 0 ohm; got nan"),
    ],
)
def test_what_cannot_be_solved_is_refused(change, message):
    given = {key: torch.tensor(value) for key, value in parameters().items()} | change
    with pytest.raises(ValueError, match=message):
        outputs_of(given)
