"""Torch's modules that hold several matrices, as equal modules with a Linear layer for each, and quicker pooling."""
