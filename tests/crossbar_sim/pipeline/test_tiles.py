"""What is kept of a tile in a run's directory."""

from dataclasses import replace

import numpy as np
import pytest
from foundry_models import SKY130, models_of

from approx import approx
from crossbar_sim import solve
from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.sections import SimulationConfig
from crossbar_sim.energy.power import Draw
from crossbar_sim.foundry.measured import measured
from crossbar_sim.foundry.tile import FoundryTile
from crossbar_sim.ngspice.verification import TileCheck
from crossbar_sim.pipeline import tiles
from crossbar_sim.pipeline.tile_limits import TilePhysics
from crossbar_sim.pipeline.tiles import TileAnswer
from crossbar_sim.solvers.balance import Balance, balance
from mapping import map_network
from netlists import Periphery, Wires
from tinynets import PrunedLayer, PrunedNetwork

ANSWER = TileAnswer(
    np.array([[0.1, -0.25]]),
    Draw({"cell": 1e-6}, {"TIA stage": 2e-6}, 3e-15),
    4e-9,
    TilePhysics(4e-9, 1e-16, 0.5, None),
    TileCheck("fc[0,0]", 1, 1e-13, 2e-13, (None, Balance(1e-15, 2e-15, 3e-14))),
    ("ngspice", "nodal"),
)


def test_an_answer_comes_back_to_the_last_digit(tmp_path):
    ANSWER.save(tmp_path / "a.npz")
    back = TileAnswer.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.v_out, ANSWER.v_out)
    names = ("draw", "t_settling", "limits", "check", "solvers")
    assert [getattr(back, name) for name in names] == [getattr(ANSWER, name) for name in names]


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_answer_is_named_with_the_remedy(tmp_path, damage):
    path = tmp_path / "a.npz"
    ANSWER.save(path)
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-40], "empty": b"", "other": b"{}"}[damage])
    with pytest.raises(ConfigError, match=r"a\.npz is damaged .*; run without --resume"):
        TileAnswer.load(path)
    with path.open("wb") as file:
        np.savez(file, v_out=np.zeros(1), rest=np.array('{"draw": 3}'))
    with pytest.raises(ConfigError, match="is damaged"):
        TileAnswer.load(path)


def test_a_run_checks_its_own_solution_in_the_process_that_is_given(mapped, worker, monkeypatch):
    """Right, and with output voltages that are off by a millionth."""
    tile, jobs, run, config = mapped.tiles[0], [], worker.run, RunConfig(name="a")
    v_in = np.random.default_rng(0).uniform(-0.2, 0.2, (5, tile.n_word))
    monkeypatch.setattr(worker, "run", lambda job: jobs.append(job) or run(job))
    asked = tiles.Questions(worker, [tile.name])
    right = tiles._answer(config, mapped.die, tile, v_in, asked).check
    assert (right.n_vector, len(jobs)) == (5, 1)
    assert right.error < 1e-11

    def wrong(circuit, v_in, **options):
        solution = solve(circuit, v_in, **options)
        return replace(solution, v_out=solution.v_out * (1 + 1e-6))

    monkeypatch.setattr(tiles, "solve", wrong)
    check = tiles._answer(config, mapped.die, tile, v_in, asked).check
    assert check.i_error < 1e-11
    assert check.v_error > 0.9e-6


def test_a_foundrys_tile_is_answered_by_its_curves(worker):
    models_of("sky130")
    branch = SKY130 | {"lengths": [2e-6, 6e-6, 18e-6], "v_max": 0.22}
    wires = {"source": "given", "r_word": 5.2, "r_bit": 1.8}
    raw = {"name": "small", "foundry": branch, "wires": wires, "tile": {"n_word": 4, "n_bit": 3}}
    config = RunConfig.model_validate(raw)
    weight = np.random.default_rng(0).normal(size=(3, 4))
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    mapped = map_network(network, config.chip, config.tile.size)
    (tile,), v_in = mapped.tiles, np.random.default_rng(1).uniform(-0.2, 0.2, (6, 4))
    asked = tiles.Questions(worker, [tile.name])
    curved = tiles._answer(config, mapped.die, tile, v_in, asked)
    lines = config.model_copy(update={"simulation": SimulationConfig(devices="lines")})
    straight = tiles._answer(lines, mapped.die, tile, v_in, asked)
    made = FoundryTile(tile, mapped.die, measured(config.foundry), *parts(config))
    assert curved.v_out == approx(made.solve(v_in).v_out, rel=1e-12)
    # ngspice with the models gives the same.
    v_out = made.ends.outputs(made.by_ngspice(v_in))
    assert curved.v_out / np.abs(v_out).max() == approx(v_out / np.abs(v_out).max(), abs=1e-5)
    change = np.abs(straight.v_out / np.abs(v_out).max() - curved.v_out / np.abs(v_out).max())
    assert change.max() > 1e-3
    assert 1e-4 < abs(straight.draw.power["cell"] / curved.draw.power["cell"] - 1) < 0.1
    assert balance(made.operating_point(v_in)).holds
    # Both are held against ngspice as straight lines.
    assert curved.check.error < 1e-10
    assert curved.check.i_error == approx(straight.check.i_error, rel=1e-9, abs=1e-15)


def parts(config: RunConfig) -> tuple[Wires, Periphery]:
    return config.hardware.wires, config.hardware.periphery
