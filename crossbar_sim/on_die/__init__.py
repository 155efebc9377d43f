"""A network in torch whose layers run on their tiles."""
