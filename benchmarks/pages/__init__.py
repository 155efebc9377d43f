"""README.md and docs/results.md, written from the kept outputs of the other rooms."""
