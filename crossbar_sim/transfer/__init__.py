"""The transfer matrix of a regular array: all its inputs at once, by exact elimination."""
