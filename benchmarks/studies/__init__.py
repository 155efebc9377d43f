"""Whole networks on dies: the examples, the kept studies, and their intervals."""
