"""Layouts of cells and tiles on silicon: floorplan, drawing, checks and the set of masks."""
