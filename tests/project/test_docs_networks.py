"""The page on the user's own network: its tables are valid, its Python is that of the example."""

import re
import tomllib
from pathlib import Path

from crossbar_sim.config import RunConfig
from crossbar_sim.config.inputs import DATA_SETS, METRICS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how_to" / "networks.md").read_text(encoding="utf-8")


def test_the_table_is_valid():
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    config = RunConfig.model_validate(tomllib.loads(block))
    assert config.prune is None
    assert config.network.leave_digital == ("head",)


def test_the_python_is_that_of_the_example_which_runs():
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    lines = (ROOT / "examples" / "own_network.py").read_text(encoding="utf-8").splitlines()
    assert len(block.splitlines()) == 5
    assert {line.strip() for line in lines} >= set(block.splitlines())


def test_every_choice_is_named():
    for choice in (*METRICS, *DATA_SETS, "mlp", "cnn", "lenet5"):
        assert f'`"{choice}"`' in TEXT
