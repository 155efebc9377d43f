"""The command line: `main` is the entry point."""

from crossbar_sim.cli.entry import main

__all__ = ["main"]
