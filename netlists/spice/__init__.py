"""Circuits as SPICE text: one tile, a chain of layers, or a directory for a network."""
