"""Circuits and their solvers: speed compared with peers and ngspice, and the error due to wires."""
