"""Which weights of a layer share a tile."""
