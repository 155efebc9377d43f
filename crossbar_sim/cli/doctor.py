"""The command that says what is installed and whether it works."""

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossbar_sim.system.terminal import messages


def doctor() -> None:
    """What is installed, which ngspice is used, and whether it has the KLU solver.

    Exit code 1, with the remedy, when `crossbar-sim run` cannot work.
    """
    from crossbar_sim.jobs.diagnosis import diagnose

    table = Table("part", "status", "", box=None)
    findings = diagnose()
    for finding in findings:
        table.add_row(
            escape(finding.what), escape(finding.status), "ok" if finding.ok else "[red]to do[/red]"
        )
    Console().print(table)
    for finding in findings:
        if not finding.ok:
            messages.print(f"{finding.what}: {finding.remedy}", style="red", markup=False)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)
