"""The command that prints what configurations and reports hold."""

import json
from importlib import resources
from typing import Annotated, Literal

import typer


def schema(
    kind: Annotated[
        Literal["run", "study", "report"],
        typer.Argument(help="Configuration of a run or of a study, or report.json of a run."),
    ] = "run",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Page of all keys of runs and studies, instead.")
    ] = False,
) -> None:
    """Print the keys of a configuration or of a report as a JSON Schema, each with its meaning.

    An editor that knows the schema completes and checks keys while you type.

    Example: crossbar-sim schema run > run.schema.json
    """
    from crossbar_sim.config.schema import json_schema, reference

    if markdown:
        typer.echo(reference(), nl=False)
    elif kind == "report":
        file = resources.files("crossbar_sim.report") / "report.schema.json"
        typer.echo(file.read_text(encoding="utf-8"), nl=False)
    else:
        typer.echo(json.dumps(json_schema(kind), indent=1))
