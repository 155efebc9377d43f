"""Scripts that measure what the pages state, in rooms as the packages have them.

Run one from the root of the repository as a module: `python -m benchmarks.circuits.peers`. What it
finds is kept in `benchmarks/results/`, flat, for a figure's name is enough to find it; `python -m
benchmarks.pages.readme` then writes it into README.md and docs/results.md.
"""
