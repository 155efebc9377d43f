"""Cells and tiles as drawn on silicon: floorplan, drawing, checks and the set of masks."""
