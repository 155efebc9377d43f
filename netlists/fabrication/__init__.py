"""What a fab or a laboratory exchanges: the pack, measured wafers, reading plans, boards."""
