"""README.md, docs/results.md and docs/laws.md, written from the kept outputs of the other rooms."""
