"""Files for a fab or a laboratory: the pack, measured wafers, reading plans, boards."""
