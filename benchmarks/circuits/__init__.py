"""Circuits and their solvers: speed beside peers and ngspice, and what wires cost a matrix."""
