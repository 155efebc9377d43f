"""Entry point of the command line: what goes wrong becomes one line and an exit code.

Loading the commands takes seconds, so nothing heavy is imported before a signal can be answered.
"""

import io
import sys

from crossbar_sim.system.stopping import Stopped, answered_signals


def main() -> None:
    """Run a command. Exit code 0: done; 1: the work failed; 2: bad input; 130, 143: interrupted.

    What the project says about input or work becomes one line; anything else is a bug of its own,
    and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a locale cannot show becomes "?"
            stream.reconfigure(errors="replace")
    with answered_signals() as ready:
        from crossbar_sim.cli.commands import app
        from crossbar_sim.system.failures import explained

        try:
            ready()
            app()
        except Stopped as stop:
            _fail(stop.message, stop.code)
        except Exception as error:
            found = explained(error)
            if found is None:
                raise
            _fail(*found)


def _fail(message: str, code: int) -> None:
    from crossbar_sim.system.terminal import messages

    text = " ".join(message.split())
    messages.print(f"crossbar-sim: {text}", style="red", markup=False, soft_wrap=True)
    sys.exit(code)
