"""README.md and docs/results.md, written from what the other rooms have kept."""
