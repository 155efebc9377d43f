"""PySpice's ngspice, subclassed where it falls short.

Importing this module loads nothing, but PySpice reads the variable NGSPICE_LIBRARY_PATH when it
is imported: set it first. `crossbar_sim.ngspice.process` does.
"""

import os
from typing import Any, Literal

import numpy as np
from PySpice.Spice.NgSpice.Shared import NgSpiceShared, ffi

from crossbar_sim.ngspice.errors import NgspiceError


class SharedNgspice(NgSpiceShared):
    """One ngspice, whose messages are kept and judged here instead of by their first word.

    netlist: the loaded text, or None.
    ohms: values of its resistors [ohm], where a job sets them.
    """

    netlist: str | None = None
    ohms: np.ndarray

    def start(self, messages: list[str], v_in: np.ndarray | None) -> None:
        """Begin a job with a list for its messages and the voltages of its external sources."""
        self._messages = messages
        self._volts = None if v_in is None else v_in.tolist()
        self._point = 0
        self._stdout, self._stderr = [], []  # PySpice would keep every line

    def send_char(self, message: str, ngspice_id: int) -> Literal[0]:
        """Called for every line that ngspice prints."""
        getattr(self, "_messages", []).append(message.partition(" ")[2])
        return 0

    @staticmethod
    def _send_data(data: Any, number_of_vectors: int, ngspice_id: int, user_data: Any) -> int:
        """Called when a point of a sweep is solved, before the next one."""
        ffi.from_handle(user_data)._point = data.vecindex + 1
        return 0

    @staticmethod
    def _get_vsrc_data(
        voltage: Any, time: float, node: Any, ngspice_id: int, user_data: Any
    ) -> int:
        """Called for the voltage of source `vext_<i>` at the current point."""
        self = ffi.from_handle(user_data)
        if self._volts is None:
            self._messages.append("error: the job has no voltages for its external sources")
            return 0
        point = min(self._point, len(self._volts) - 1)
        voltage[0] = self._volts[point][int(ffi.string(node)[5:])]
        return 0

    @staticmethod
    def _exit(
        exit_status: int,
        immediate_unloding: bool,
        quit_exit: bool,
        ngspice_id: int,
        user_data: Any,
    ) -> int:
        """Called when ngspice quits or gives up; any further call would crash."""
        os._exit(exit_status or 1)

    def command(self, command: str) -> None:
        """Give ngspice a command of any length."""
        library: Any = self._ngspice_shared
        if library.ngSpice_Command(command.encode("ascii")):
            raise NgspiceError(f"ngspice refused the command {command!r}")

    def load(self, netlist: str) -> None:
        """Parse a netlist in place of the loaded one."""
        self.unload()
        lines = [ffi.new("char[]", line.encode("ascii")) for line in netlist.split("\n")]
        array = ffi.new("char *[]", [*lines, ffi.new("char[]", b""), ffi.NULL])
        self.netlist = netlist
        library: Any = self._ngspice_shared
        if library.ngSpice_Circ(array):
            raise NgspiceError("ngspice refused the netlist")

    def unload(self) -> None:
        """Forget the loaded netlist, if any; without this, each one leaks memory."""
        if self.netlist is not None:
            self.netlist = None
            self.command("remcirc")
