"""Torch modules of several matrices as equal ones of Linear layers, and quicker pooling."""
