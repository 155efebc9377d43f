"""Single runs of a study's points: the settings of one die as a file, and its command."""

from typing import Any
from urllib.parse import quote

from crossbar_sim.config import RunConfig
from crossbar_sim.config.inputs import named_files
from crossbar_sim.config.schema import run_toml
from crossbar_sim.config.study import with_values
from crossbar_sim.report.settings import command
from crossbar_sim.study_report.found import Found
from crossbar_sim.study_report.names import key_of, metric_text, value_text


def single_run(f: Found, k: int) -> RunConfig:
    """Return the run of the k-th point on the first of its dies, under a name of its own."""
    return with_values(f.first(k), {"name": f"{f.study.config.name}-point{f.number(k)}"})


def reproduction(f: Found, k: int) -> dict[str, Any]:
    """Return what does the k-th point again as a single run.

    file, toml, link: the name of its file, the text and a link that holds the text; command: None
    for a network or data given in Python. keys: rows of what the point sets. files: whether it
    names files of this machine. found: what the run finds on its die.
    """
    config, record = single_run(f, k), f.records[k][0]
    file, toml = f"{config.name}.toml", run_toml(config)
    return {
        "number": f.number(k),
        "name": f.name(k),
        "file": file,
        "toml": toml,
        "link": f"data:application/toml;charset=utf-8,{quote(toml)}",
        "command": command(config, file),
        "keys": key_rows(f, k),
        "files": bool(list(named_files(config))),
        "die": config.die.seed,
        "training": config.seed,
        "found": metric_text(record.metrics[f.metrics[0]], f.metrics[0], f.score),
    }


def key_rows(f: Found, k: int) -> list[dict[str, str]]:
    """Return rows of key, value and meaning of what the k-th point sets in the base run."""
    values, config = f.study.config.values(f.points[k]), f.first(k)
    rows = []
    for keys, value in values.items():
        label, unit = key_of(keys, config)
        rows.append({"key": keys, "value": value_text(value, unit), "meaning": label})
    return rows
