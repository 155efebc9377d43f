"""What commands print: CSV for pipes, tables that fit for people, one JSON object with --json."""

import csv
import inspect
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from commands import command
from crossbar_sim.cli.commands import COMMANDS
from crossbar_sim.system.figures import print_json, print_rows, tables_that_fit
from crossbar_sim.system.terminal import progress_bars
from tinynets.formats.weights import save_weights
from tinynets.networks.models import mlp

#: Commands that print paths, text or a file, not figures.
NO_FIGURES = {"netlist", "export", "layout", "board", "schema", "config", "new"}
ROWS = [
    {"tile": "a[0]", "n": 3, "bits": 1 / 3, "bits_low": -float("inf"), "bits_high": 0.5},
    {"tile": "b", "n": 4, "bits": 12345.678, "bits_low": None, "bits_high": 1e-9},
]


def numbers(text: str) -> object:
    """Return the cell of a CSV file as JSON has it."""
    try:
        value = float(text)
    except ValueError:
        return {"": None, "True": True, "False": False}.get(text, text)
    return value if abs(value) < float("inf") else str(value).replace("inf", "Infinity")


def as_read(text: str) -> list[dict[str, object]]:
    return [{k: numbers(v) for k, v in row.items()} for row in csv.DictReader(io.StringIO(text))]


def test_every_command_that_prints_figures_has_json():
    without = {n for n, f in COMMANDS.items() if "as_json" not in inspect.signature(f).parameters}
    assert without == NO_FIGURES & set(COMMANDS)


@pytest.mark.parametrize("form", ["", ".3g", lambda name: ".1e" if name == "bits" else ".2f"])
def test_json_has_the_numbers_of_the_csv(capsys, form):
    print_rows(ROWS, form=form)
    as_csv = as_read(capsys.readouterr().out)
    print_rows(ROWS, as_json=True, form=form, facts={"seed": 1})
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == {"rows": as_csv, "seed": 1}


def test_what_json_lacks_is_text(capsys):
    print_json({"a": (float("nan"), -float("inf")), "b": Path("x"), "c": {1: True}})
    read = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert read == {"a": ["NaN", "-Infinity"], "b": "x", "c": {"1": True}}


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_tables_for_people_fit_and_leave_nothing_out(width):
    wide = [row | {f"more{k}": 1000 + k for k in range(9)} | {"why": "x" * 90} for row in ROWS]
    console = Console(width=width, file=io.StringIO())
    console.print(*tables_that_fit(wide, width))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    whole = "".join(text.split())
    assert whole.count("x") == 180
    assert "0.3333(-inf…0.5)" in whole
    assert all(str(1000 + k) in whole for k in range(9))


@pytest.mark.parametrize(
    "words",
    [
        ("precision", "--n", "4,5", "--instances", 40),
        ("verify", "DIRECTORY", "--vectors", 2),
        ("verify", "DIRECTORY", "--vectors", 2, "--sample", 1, "--solvers", "fast,fast"),
        ("reproduce", "song2024"),
    ],
)
def test_a_command_prints_the_same_figures_either_way(mapping, words):
    words = [mapping if word == "DIRECTORY" else word for word in words]
    plain, as_json = command(*words), command(*words, "--json")
    assert plain.returncode == as_json.returncode == 0, as_json.stderr
    assert json.loads(as_json.stdout)["rows"] == as_read(plain.stdout)


@pytest.fixture(scope="module")
def mapping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network on a die, and what `map --json` says of it."""
    folder = tmp_path_factory.mktemp("mapping")
    save_weights(mlp([6, 5, 4]), folder / "net.safetensors")
    done = command("map", folder / "net.safetensors", "--output", folder / "m", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["weights"] for row in found["rows"]] == [30, 20]
    assert found["output"] == str(folder / "m")
    return folder / "m"


def test_lists_and_the_number_of_branches_are_json_too():
    laws = json.loads(command("law", "--json").stdout)["laws"]
    assert "fixed-size" in [law["name"] for law in laws]
    chips = json.loads(command("reproduce", "--json").stdout)["chips"]
    assert "li2018" in [chip["name"] for chip in chips]
    plain = command("precision", "--bits", 4, "--yield", 0.9)
    found = json.loads(command("precision", "--bits", 4, "--yield", 0.9, "--json").stdout)
    assert found["n"] == int(plain.stdout)
    assert found["rows"] == []


# ---- stderr and loading --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rnu",), "No such command 'rnu'. Did you mean 'run'?; see `"),
        (("run",), "Missing argument 'config'; see `"),
        (("run", "--quik", "x"), "--quik"),
        (("verify", "x", "--vectors", 0), "Invalid value for '--vectors'"),
        (("precision", "--bits", "nan"), "must be 0 … 64; got nan; see `"),
    ],
)
def test_a_wrong_word_is_one_line_like_any_other_error(words, message):
    done = command(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("crossbar-sim: ")
    assert message in line
    assert line.endswith("--help`")


def test_without_a_word_the_commands_are_shown():
    done = command()
    assert done.returncode == 0
    assert "selftest" in done.stdout
    assert done.stderr == ""


def test_a_file_has_a_line_for_each_finished_step(capsys, monkeypatch):
    monkeypatch.setattr("crossbar_sim.system.terminal.messages", Console(stderr=True, width=80))
    with progress_bars() as tell:
        for done in range(3):
            tell("solve", done, 2)
        tell("draw", 1, 5)
        tell("solve", 2, 2)
    assert capsys.readouterr().err.splitlines() == ["solve 2/2, 0 s"]


@pytest.mark.parametrize("words", ["--help", "run --help", "prune --help"])
def test_help_and_completion_load_nothing_heavy(words):
    script = (
        f"import sys; sys.argv[1:] = {words.split()!r}\n"
        "from crossbar_sim.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print({'torch', 'scipy', 'numba', 'networkx', 'matplotlib'} & set(sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines()[-1] == "set()"


def test_the_shell_completes_commands_and_options():
    script = "from crossbar_sim.cli import main; import sys; sys.argv = ['crossbar-sim']; main()"
    for typed, at, expected in [
        ("crossbar-sim ver", "1", ["verify", "verify-foundry"]),
        ("crossbar-sim verify --so", "2", ["--solvers"]),
    ]:
        asked = {"_CROSSBAR_SIM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": at}
        with pytest.MonkeyPatch.context() as patch:
            for key, value in asked.items():
                patch.setenv(key, value)
            told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert told.stdout.split() == expected
    assert "--install-completion" in command("--help").stdout


def test_each_example_of_a_help_is_a_command_with_options_it_has():
    shown = {name: inspect.getdoc(function) or "" for name, function in COMMANDS.items()}
    lines = [line.strip() for text in shown.values() for line in text.splitlines()]
    examples = [line.partition("crossbar-sim ")[2].partition(" >")[0] for line in lines]
    words = [example.split() for example in examples if "--" in example]
    assert len(words) > 12
    help_of = {name: command(name, "--help").stdout for name, *_ in words}
    asked = [(name, word) for name, *rest in words for word in rest if word.startswith("--")]
    assert [(name, word) for name, word in asked if word.rstrip("`.") not in help_of[name]] == []
