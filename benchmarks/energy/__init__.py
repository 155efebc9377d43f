"""Energy: the cost of a conversion, and the assumptions of the comparison with digital."""
