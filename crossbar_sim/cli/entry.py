"""Entry point of the command line: an error becomes one line and an exit code.

Loading the commands takes seconds, so nothing heavy is imported before signals are handled.
"""

import io
import sys

from crossbar_sim.system.stopping import Stopped, answered_signals


def main() -> None:
    """Run a command. Exit code 0: done; 1: the work failed; 2: bad input; 130, 143: interrupted.

    An error about the input or the work becomes one line; anything else is a bug of the program and
    keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without the character shows "?"
            stream.reconfigure(errors="replace")
    with answered_signals() as ready:
        from crossbar_sim.cli.commands import app
        from crossbar_sim.system.failures import explained

        try:
            ready()
            sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
        except Stopped as stop:
            _fail(stop.message, stop.code)
        except Exception as error:
            explanation = _of_usage(error) or explained(error)
            if explanation is None:
                raise
            message, code = explanation
            _fail(message, code, lines=getattr(error, "lines", None))


def _of_usage(error: Exception) -> tuple[str, int] | None:
    """Return what to say of a wrong word on the command line, and the exit code; None if not one.

    The parser's errors have a type that typer does not make public; all know how to be told.
    """
    told, context = getattr(error, "format_message", None), getattr(error, "ctx", None)
    if told is None:
        return None
    help_ = f"; see `{context.command_path} --help`" if context else ""
    return f"{told().rstrip('.')}{help_}", 2


def _fail(message: str, code: int, *, lines: list[str] | None = None) -> None:
    """Print an error and exit.

    lines: of an error that says several things; any other is one line.
    """
    from crossbar_sim.system.terminal import messages

    for line in lines or [message]:
        text = " ".join(line.split())
        messages.print(f"crossbar-sim: {text}", style="red", markup=False, soft_wrap=True)
    sys.exit(code)
