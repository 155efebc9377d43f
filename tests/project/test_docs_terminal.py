"""The page of the command line: its exit codes and commands are those of the program."""

import json
import re
from pathlib import Path

import pytest

from commands import command
from crossbar_sim.cli.commands import COMMANDS
from crossbar_sim.system.failures import BAD_INPUT, WORK_FAILED
from crossbar_sim.system.stopping import Stopped

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "terminal.md").read_text(encoding="utf-8")


def test_the_page_names_commands_that_exist():
    named = set(re.findall(r"crossbar-sim ([a-z]+)", PAGE))
    assert {"new", "run", "config", "verify"} <= named
    assert named <= set(COMMANDS)


def test_the_page_lists_the_exit_codes():
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
    assert listed == [0, WORK_FAILED, BAD_INPUT, Stopped(2).code, Stopped(15).code]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("law",), 0),
        (("--version",), 0),
        (("law", "nope"), BAD_INPUT),
        (("run", "nowhere.toml"), BAD_INPUT),
        (("run", ROOT / "examples/studies/first.toml"), BAD_INPUT),
        (("study", ROOT / "examples/runs/digits.toml"), BAD_INPUT),
        (("precision", "--n", "4:5:6"), BAD_INPUT),
        (("verify", ROOT / "docs"), BAD_INPUT),
        (("export", "x", "--nope"), BAD_INPUT),
        (("golden", "--only", "wires", "--tolerance", "1e-300"), WORK_FAILED),
    ],
)
def test_exit_codes(words, code):
    done = command(*words)
    assert done.returncode == code, done.stderr
    if code == BAD_INPUT:
        assert done.stdout == ""
        assert done.stderr.startswith("crossbar-sim: ")


def test_the_example_of_json_reads_what_a_command_prints():
    (script,) = re.findall(r'python -c "([^"]+)"', PAGE)
    assert "json.load(sys.stdin)['rows']" in script
    found = json.loads(command("precision", "--n", "4", "--instances", 20, "--json").stdout)
    assert found["rows"][0]["n"] == 4
