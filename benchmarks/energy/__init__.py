"""Joules: what a conversion costs, and what the comparison with digital arithmetic assumes."""
