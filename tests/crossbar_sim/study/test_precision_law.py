"""Bits against branches, as a command and as a function."""

import csv
import io

import numpy as np
import pytest

from commands import command
from crossbar_sim.study.precision_law import draw_law, measure_law, save_law, to_csv
from mapping import ResistorBank


@pytest.fixture(scope="module")
def law():
    return measure_law(ResistorBank(ratio=1.75, sigma_local=0.05), [4, 6, 8], n_instance=300)


def test_about_one_bit_per_branch(law):
    slope, low, high = law.curve.slope("mean")
    assert 0.8 < slope < 1.1
    assert low < slope < high
    assert (law.curve.mean.bits > law.curve.median.bits).all()
    assert (law.curve.median.bits >= law.curve.worst.bits).all()


def test_csv_and_pictures(law, tmp_path):
    rows = list(csv.DictReader(io.StringIO(to_csv(law))))
    assert [row["n"] for row in rows] == ["4", "6", "8"]
    paths = save_law(law, tmp_path / "new" / "law")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["law.csv", "law.png", "law.svg"]
    assert paths[0].read_text() == to_csv(law)
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert "geometric 1.75" in draw_law(law).axes[0].get_title()


def test_a_meter_limits_the_useful_branches():
    coarse = measure_law(ResistorBank(sigma_local=0.05, meter_error=0.01), [4, 5, 6], n_instance=50)
    fine = measure_law(ResistorBank(sigma_local=0.05, meter_error=1e-3), [4, 5, 6], n_instance=50)
    assert coarse.useful < fine.useful


def test_the_command_prints_csv_for_a_pipe(tmp_path):
    result = command("precision", "--n", "4,6,8", "--instances", 100, "--output", tmp_path / "law")
    assert result.returncode == 0, result.stderr
    found = np.genfromtxt(io.StringIO(result.stdout), delimiter=",", names=True)
    assert found["n"].tolist() == [4, 6, 8]
    assert (tmp_path / "law.svg").exists()


def test_the_inverse():
    result = command("precision", "--bits", 5, "--yield", 0.99)
    assert result.returncode == 0, result.stderr
    assert 4 <= int(result.stdout) <= 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "x"], "FIRST:LAST"),
        (["--ladder", "funny"], "ladder = 'funny': must be one of"),
        (["--scatter", "2"], "sigma_local = 2.0"),
        (["--band", "0.9", "0.1"], "low < high"),
        (["--n", "40"], "n"),
        (["--bits", "60"], "no bank of up to"),
        (["--config", "/nowhere.toml"], "cannot be read"),
    ],
)
def test_mistakes_are_one_line_and_code_2(arguments, message):
    result = command("precision", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
