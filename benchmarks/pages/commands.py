"""docs/reference/commands.md: every command with its arguments and options, from the program itself."""

import inspect
from typing import Any

import typer
from typer.main import get_command

from benchmarks.pages.tables import table
from crossbar_sim.cli.commands import COMMANDS, app

HEAD = (
    "# Commands\n\n"
    "Written from the program, which says the same: `crossbar-sim COMMAND --help`. What goes to stdout and stderr, "
    "exit codes and completion: [the command line](terminal.md). In place of RUN, a command takes any directory that holds "
    "a mapped network: a finished run, what `save_network` or `crossbar-sim map` wrote, or a fabrication pack.\n\n"
)


def page() -> str:
    """Return the page."""
    group = get_command(app)
    commands: dict[str, Any] = group.commands  # type: ignore[attr-defined]
    rows = [[f"[`{name}`](#{name})", _first(commands[name])] for name in COMMANDS]
    sections = [_section(name, commands[name]) for name in COMMANDS]
    return HEAD + "\n\n".join([table(["command", "what it does"], rows), *sections]) + "\n"


def _first(command: Any) -> str:
    """Return the first sentence of a command's help."""
    first, _, _ = inspect.cleandoc(command.help or "").partition("\n")
    return first


def _section(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=f"crossbar-sim {name}")
    usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
    paragraphs = inspect.cleandoc(command.help or "").replace("\\[", "[").split("\n\n")
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    parts = [f"## {name}", *paragraphs, f"    {usage}"]
    return "\n\n".join(
        [*parts, *([table(["argument or option", "meaning", "default"], rows)] if rows else [])]
    )


def _row(parameter: Any) -> list[str]:
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    text = " ".join((getattr(parameter, "help", "") or "").split()).replace("|", "\\|")
    default = parameter.default
    plain = default in (None, False, "", ()) or callable(default) or default == []
    return [names, text.replace("\\[", "["), "" if plain else f"`{default}`"]
