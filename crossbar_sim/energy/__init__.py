"""Power and energy of the die, and of the digital arithmetic that it replaces."""
