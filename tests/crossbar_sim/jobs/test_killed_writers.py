"""What a killed `netlist` or `export` leaves: nothing, or what the next one removes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from crossbar_sim import Hardware
from crossbar_sim.jobs.source import save_mapping
from mapping import Die, ResistorBank, TileConfig, map_network
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

pytest.importorskip("pyarrow")
COMMAND = [sys.executable, "-c", "from crossbar_sim.cli import main; main()"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough tiles to write for some seconds."""
    weight = np.random.default_rng(0).normal(size=(256, 256))
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    die = Die(ResistorBank(n=4, sigma_local=0.05, r_on=1e3, r_off=1e9), seed=1)
    path = tmp_path_factory.mktemp("mapping") / "m"
    save_mapping(map_network(network, die, TileConfig(64, 64)), Hardware(), path)
    return path


@pytest.mark.parametrize("command", ["netlist", "export"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_writer_leaves_nothing_that_stays(command, number, source, tmp_path):
    words = [*COMMAND, command, str(source), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("*.csv")) + list(tmp_path.rglob("*.inc")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1].decode()
    left = os.listdir(tmp_path)
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert "terminated" in error
        assert left == []
        return
    assert [name.startswith(".out.") for name in left] == [True]
    options = ["--sample", "1"]
    again = subprocess.run([*words, *options], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert os.listdir(tmp_path) == ["out"]
