"""The command that says what is installed and whether it works."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossbar_sim.system.figures import Json, print_json
from crossbar_sim.system.terminal import messages

if TYPE_CHECKING:
    from crossbar_sim.jobs.diagnosis import Finding


def doctor(as_json: Json = False) -> None:
    """What is installed, which ngspice is used, and whether it has the KLU solver.

    Exit code 1, with the remedy, when `crossbar-sim run` cannot work.

    Example: crossbar-sim doctor --json
    """
    from crossbar_sim.jobs.diagnosis import diagnose

    findings = diagnose()
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def _show(findings: "list[Finding]") -> None:
    """Show a table of all findings, and below it what is to do."""
    table = Table("part", box=None)
    table.add_column("status", overflow="fold")
    table.add_column("")
    for finding in findings:
        table.add_row(escape(finding.what), escape(finding.status), _verdict(finding))
    Console().print(table)
    for finding in findings:
        if not finding.ok:
            messages.print(f"{finding.what}: {finding.remedy}", style="red", markup=False)


def _verdict(finding: "Finding") -> str:
    """Return "ok", "to do", or nothing for an optional part that is not here."""
    if not finding.ok:
        return "[red]to do[/red]"
    return "" if "optional" in finding.status else "ok"
