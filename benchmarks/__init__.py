"""Scripts that measure the figures of the pages, grouped in rooms like the packages.

Run one as a module from the root of the repository: `python -m benchmarks.circuits.peers`. It
keeps its output in `benchmarks/results/`. Then `python -m benchmarks.pages.readme` writes the kept
outputs into README.md and docs.
"""
