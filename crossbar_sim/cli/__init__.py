"""The command line: `main` is the entry point, `app` the application."""

from crossbar_sim.cli.entry import main

__all__ = ["main"]


def __getattr__(name: str) -> object:
    """Return the application, which is loaded only on demand."""
    if name != "app":
        raise AttributeError(f"module 'crossbar_sim.cli' has no attribute {name!r}")
    from crossbar_sim.cli.commands import app

    return app
